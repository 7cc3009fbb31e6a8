/** The seller's dealings with its watchtowers: pairs them by one-time codes, answers them, and knows who is behind. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeTowerPage, encodeTowerPairing, asTowerCursor, type TowerPairing } from '../wire/tower.ts'
import {
  codeHash,
  isAskSigned,
  isPairRequestSigned,
  normalCode,
  pairingCode,
  parsePairRequest,
  parseTowerAuthorization,
} from '../wire/tower-auth.ts'
import type { TowerFeed } from './tower-feed.ts'

/** A tower as it is kept. */
export interface PairedTower {
  peer: PeerId
  name: string
  pairedAtMs: number
}

export interface TowerView extends PairedTower {
  /** null: not since the start */
  lastHeardMs: number | null
  /** channels whose newest state it has not confirmed */
  behind: number
}

export interface TowerDeskParts {
  feed: TowerFeed
  /** who this seller is */
  pairing: TowerPairing
  load: () => Promise<PairedTower[]>
  save: (towers: readonly PairedTower[]) => Promise<unknown>
  now: Clock
  log: Log
  /** how long a question may wait for news */
  waitMs?: number
}

interface Session {
  /** of its last question */
  atMs: number
  heardMs: number
  since: string
  /** ends the question that is waiting */
  stop: AbortController
}

const codeLifeMs = 10 * 60_000
const mostTowers = 8
const usualWaitMs = 25_000
const mostSkewMs = 5 * 60_000
const silentMs = 2 * 60_000
const lookEveryMs = 30_000

export async function openTowerDesk(parts: TowerDeskParts): Promise<TowerDesk> {
  return new TowerDesk(parts, await parts.load())
}

export class TowerDesk {
  readonly #parts: TowerDeskParts
  readonly #towers: Map<PeerId, PairedTower>
  readonly #sessions = new Map<PeerId, Session>()
  readonly #closing = new AbortController()
  /** `takenBy`: whose it became; that tower may ask again when the answer was lost. */
  #code: { hash: Buffer; untilMs: number; takenBy: PeerId | null } | null = null

  constructor(parts: TowerDeskParts, towers: readonly PairedTower[]) {
    this.#parts = parts
    this.#towers = new Map(towers.map((tower) => [tower.peer, tower]))
  }

  /** Makes a code for one tower; an earlier one is void. */
  offerCode(): { code: string; untilMs: number } {
    const code = pairingCode(randomBytes(32))
    const untilMs = this.#parts.now() + codeLifeMs
    this.#code = { hash: codeHash(normalCode(code)), untilMs, takenBy: null }
    return { code, untilMs }
  }

  /** Throws `pairing_refused`, `invalid_signature`. */
  async pair(body: unknown): Promise<Record<string, string>> {
    const asked = parsePairRequest(body)
    const offered = this.#code
    const isRight = offered !== null && timingSafeEqual(codeHash(asked.code), offered.hash)
    const isFree = offered?.takenBy === null || offered?.takenBy === asked.peer
    if (!isRight || !isFree || this.#parts.now() > offered.untilMs) throw wrongCode()
    if (!isPairRequestSigned(asked)) throw badSignature()
    if (this.#towers.size >= mostTowers && !this.#towers.has(asked.peer)) throw tooMany()
    // Before anything is waited for: of two towers at once one gets it.
    offered.takenBy = asked.peer
    const { peer, name } = asked
    await this.#change((towers) => towers.set(peer, { peer, name, pairedAtMs: this.#parts.now() }))
    this.#parts.log.info({ tower: peer, name }, 'a watchtower is paired')
    return encodeTowerPairing(this.#parts.pairing)
  }

  /** Throws `tower_unknown`, `invalid_signature`, `clock_skewed`. Resolves when there is news, or after a while. */
  async updates(authorization: unknown, cursor: string | null, signal: AbortSignal): Promise<unknown> {
    const since = cursor === null || cursor === '' ? '' : asTowerCursor(cursor)
    const { peer, atMs, signature } = parseTowerAuthorization(authorization)
    const tower = this.#towers.get(peer)
    if (tower === undefined) throw unknownTower()
    if (!isAskSigned(this.#parts.pairing, { peer, atMs, since }, signature)) throw badSignature()
    const session = this.#begin(tower, atMs, since)
    const until = [signal, session.stop.signal, this.#closing.signal]
    const late = AbortSignal.timeout(this.#parts.waitMs ?? usualWaitMs)
    return encodeTowerPage(await this.#parts.feed.next(since, AbortSignal.any([...until, late])))
  }

  list(): TowerView[] {
    return [...this.#towers.values()].map((tower) => {
      const session = this.#sessions.get(tower.peer)
      const behind = this.#parts.feed.behind(session?.since ?? '')
      return { ...tower, lastHeardMs: session?.heardMs ?? null, behind }
    })
  }

  /** Tells the tower nothing more; false when there is none of that name. What it has it keeps. */
  async remove(peer: PeerId): Promise<boolean> {
    if (!this.#towers.has(peer)) return false
    await this.#change((towers) => void towers.delete(peer))
    this.#sessions.get(peer)?.stop.abort()
    this.#sessions.delete(peer)
    return true
  }

  /** Says when a tower has fallen silent, until the signal aborts. */
  async watch(signal: AbortSignal): Promise<void> {
    const startedMs = this.#parts.now()
    const told = new Set<PeerId>()
    while (!signal.aborted) {
      await sleep(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
      for (const { peer, name, lastHeardMs, behind } of this.list()) {
        const isSilent = this.#parts.now() - (lastHeardMs ?? startedMs) > silentMs
        if (!isSilent) told.delete(peer)
        if (!isSilent || told.has(peer)) continue
        told.add(peer)
        this.#parts.log.warn({ tower: peer, name, behind }, 'a watchtower is silent')
      }
    }
  }

  /** Answers those who wait. */
  close(): void {
    this.#closing.abort()
  }

  #begin(tower: PairedTower, atMs: number, since: string): Session {
    const { now, log, feed } = this.#parts
    const { peer, name } = tower
    if (Math.abs(atMs - now()) > mostSkewMs) throw wrongClock(atMs - now())
    const before = this.#sessions.get(peer)
    // Whoever heard a question must not be able to ask it again.
    if (before !== undefined && atMs <= before.atMs) throw badSignature()
    before?.stop.abort()
    const session = { atMs, heardMs: now(), since, stop: new AbortController() }
    this.#sessions.set(peer, session)
    if (before === undefined)
      log.info({ tower: peer, name, behind: feed.behind(since) }, 'a watchtower follows')
    return session
  }

  async #change(change: (towers: Map<PeerId, PairedTower>) => unknown): Promise<void> {
    const next = new Map(this.#towers)
    change(next)
    await this.#parts.save([...next.values()])
    change(this.#towers)
  }
}

const wrongCode = () =>
  new OpenSeedError('pairing_refused', {
    message: 'This pairing code is wrong, was used, or has run out.',
    hint: 'Ask the seller for a new one: openseed watchers code',
  })

const tooMany = () =>
  new OpenSeedError('pairing_refused', {
    message: `This seller has ${mostTowers} watchtowers already.`,
    hint: 'The seller can let one go: openseed watchers remove',
  })

const unknownTower = () =>
  new OpenSeedError('tower_unknown', {
    message: 'This seller is not paired with that watchtower.',
    hint: 'Pair again: openseed watch --seller ADDRESS --code CODE',
  })

const badSignature = () =>
  new OpenSeedError('invalid_signature', { message: 'The watchtower has not signed this, or did so before.' })

const wrongClock = (offMs: number) =>
  new OpenSeedError('clock_skewed', {
    message: `The clocks of watchtower and seller are ${Math.round(offMs / 1000)} s apart.`,
    hint: 'Set both clocks.',
  })
