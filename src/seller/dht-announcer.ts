/**
 * Announces a seller in the DHT: its record and its wallet's word under its peer id, and its name in the directory of
 * each model. Needs no registry; whatever goes wrong, it goes on trying.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Dht, PutOutcome } from '../net/p2p/open-host.ts'
import { allSellers } from '../wire/seller-record.ts'
import type { Announced } from './announcer.ts'

export interface DhtAnnouncerParts {
  dht: Pick<Dht, 'putRecord' | 'putBinding' | 'provide' | 'withdraw'>
  /** What is to be announced; null when that is nothing. */
  announced: () => Promise<Pick<Announced, 'record' | 'binding'> | null>
  /** Throws when another home has told its record since the one of ours that was told last; null when none was yet. */
  checkAlone: (toldSeq: number | null) => Promise<void>
  /** Ids of the models that are offered. */
  models: () => readonly string[]
  /** Resolves when `announced` or `models` would give something new, or when the signal aborts. */
  nextChange: (signal: AbortSignal) => Promise<void>
  now: Clock
  log: Log
  /** How long what was told is good for; ten minutes unless told. */
  everyMs?: number
}

export interface DhtAnnouncer {
  /** Of what is told now: how much others hold, and how much there is. */
  progress(): { told: number; of: number }
  /** Is not listed any longer; what others hold of it runs out. Takes a second at most. */
  close(): Promise<void>
}

/** One thing to tell: under which name, what its newest form is, and how. */
interface Item {
  name: string
  version: string
  tell: () => Promise<string | null>
}

const usualEveryMs = 10 * 60_000
// Holders take no second record of a seller within half a minute, and those of its last run may have one.
const lookAgainMs = 31_000
const longestRetryMs = 60_000
const firstRetryMs = 2_000
// Addresses come one after the other when a node starts.
const restMs = 250
const withdrawMs = 1_000
const atOnce = 4
const mostModels = 500
// A network that is joined a moment later is nothing to talk about.
const failuresToTell = 4

export function openDhtAnnouncer(parts: DhtAnnouncerParts): DhtAnnouncer {
  const { dht, now, log, everyMs = usualEveryMs } = parts
  const stop = new AbortController()
  const { signal } = stop
  const told = new Map<string, { version: string; atMs: number }>()
  let wanted = 0
  let failures = 0

  const isDue = ({ name, version }: Item) => {
    const last = told.get(name)
    return last?.version !== version || now() - last.atMs >= everyMs
  }

  /** Tells what is due. Gives why something was not told; null when everything was. */
  async function tellDue(): Promise<string | null> {
    const announced = await parts.announced()
    if (announced === null) return null
    const items = itemsOf(announced)
    wanted = items.length
    await forgetOthers(items)
    let failure: string | null = null
    const due = items.filter(isDue)
    if (due.some(({ name }) => name === recordName)) {
      const last = told.get(recordName)
      await parts.checkAlone(last === undefined ? null : Number(last.version))
    }
    const queue = due.values()
    const work = async () => {
      for (const item of queue) {
        if (signal.aborted) return
        const problem = await item.tell()
        if (problem === null) markTold(item)
        else failure ??= problem
      }
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    return failure
  }

  function markTold({ name, version }: Item): void {
    const isFirst = name === recordName && !told.has(name)
    told.set(name, { version, atMs: isFirst ? now() - everyMs + lookAgainMs : now() })
  }

  function itemsOf({ record, binding }: Pick<Announced, 'record' | 'binding'>): Item[] {
    const models = [allSellers, ...new Set(parts.models())].slice(0, mostModels)
    return [
      {
        name: recordName,
        version: String(record.seq),
        tell: async () => problemOf(await dht.putRecord(record, { signal })),
      },
      {
        name: 'binding',
        version: binding.signature,
        tell: async () => problemOf(await dht.putBinding(binding, { signal })),
      },
      ...models.map((model) => ({
        name: modelName(model),
        version: '',
        tell: async () => ((await dht.provide(model, { signal })) > 0 ? null : noHolder),
      })),
    ]
  }

  /** Models that are not offered any more. */
  async function forgetOthers(items: readonly Item[]): Promise<void> {
    const names = new Set(items.map(({ name }) => name))
    for (const name of told.keys()) {
      if (names.has(name)) continue
      told.delete(name)
      await dht.withdraw(modelOf(name))
    }
  }

  function note(problem: unknown): void {
    if (problem === null) {
      if (failures >= failuresToTell) log.info('announced in the DHT again')
      failures = 0
      return
    }
    failures += 1
    const level = failures === failuresToTell ? 'warn' : 'debug'
    log[level]({ problem }, 'not announced in the DHT; trying again')
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const round = new AbortController()
      const anyEnd = AbortSignal.any([signal, round.signal])
      const change = parts.nextChange(anyEnd)
      const problem = await tellDue().catch((thrown: unknown) => thrown ?? 'nothing was thrown')
      if (!signal.aborted) note(problem)
      const due = pause(problem === null ? lookAgainMs : retryMs(failures), anyEnd)
      await Promise.race([Promise.all([change, pause(restMs, anyEnd)]), due])
      round.abort()
    }
  }

  const running = run()
  return {
    progress: () => ({ told: told.size, of: wanted }),
    async close() {
      stop.abort()
      const leaving = [...told.keys()].filter(isModelName).map(async (name) => dht.withdraw(modelOf(name)))
      const left = Promise.allSettled([running, ...leaving])
      await Promise.race([left, sleep(withdrawMs, undefined, { ref: false })])
    },
  }
}

const recordName = 'record'
const noHolder = 'nobody in reach to tell'
const modelPrefix = 'model '
const modelName = (model: string) => modelPrefix + model
const isModelName = (name: string) => name.startsWith(modelPrefix)
const modelOf = (name: string) => name.slice(modelPrefix.length)

function problemOf(outcome: PutOutcome): string | null {
  if (!outcome.ok) return outcome.reason
  return outcome.holders > 0 ? null : noHolder
}

function retryMs(failures: number): number {
  return Math.min(longestRetryMs, firstRetryMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2)
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
}
