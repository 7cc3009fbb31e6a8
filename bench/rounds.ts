/** Measures targets in turn, round by round, so that whatever changes on the machine meanwhile meets all of them. */
import { runWindow, type Sample } from './load.ts'
import type { Load } from './requests.ts'
import type { CaseResult, ProcessName, Ratios, TargetResult } from './results.ts'
import type { Target } from './stage.ts'
import { median, quantile, spread, sum } from './statistics.ts'

export interface Plan {
  rounds: number
  windowMs: number
}

interface Round extends Sample {
  cpuMs: Partial<Record<ProcessName, number>>
}

export async function measureCase(
  targets: readonly Target[],
  load: Load,
  concurrency: number,
  plan: Plan,
): Promise<CaseResult> {
  const taken = new Map<Target, Round[]>(targets.map((target) => [target, []]))
  for (let round = 0; round < plan.rounds; round++) {
    for (const [target, rounds] of taken) {
      rounds.push(await measureRound(target, load, concurrency, plan.windowMs))
    }
  }
  const direct = [...taken].find(([{ name }]) => name === 'direct')?.[1]
  const results = [...taken].map(([{ name }, rounds]): TargetResult => {
    const answers = rounds.flatMap((round) => round.answers)
    return {
      target: name,
      requests: answers.length,
      requestsPerSec: median(rounds.map(requestsPerSec)),
      latencyMs: spread(answers.map(({ latencyMs }) => latencyMs)),
      ttftMs: load.events === null ? null : spread(answers.map(({ ttftMs }) => ttftMs)),
      eventsPerSec: load.events === null ? null : median(rounds.map(requestsPerSec)) * load.events,
      cpuMsPerRequest: cpuPerRequest(rounds),
      toDirect:
        direct === undefined || direct === rounds ? null : ratios(rounds, direct, load.events !== null),
    }
  })
  return { load: load.name, concurrency, targets: results }
}

async function measureRound(
  { url, children }: Target,
  load: Load,
  concurrency: number,
  durationMs: number,
): Promise<Round> {
  const marks: number[][] = []
  const mark = async () => {
    marks.push(await Promise.all(children.map(async (child) => (await child.usage()).cpuUs)))
  }
  const sample = await runWindow({ url, load, concurrency, durationMs, mark })
  const [before = [], after = []] = marks
  const cpuMs = Object.fromEntries(
    children.map(({ name }, index) => [name, ((after[index] ?? 0) - (before[index] ?? 0)) / 1000]),
  )
  return { ...sample, cpuMs }
}

const requestsPerSec = ({ answers, elapsedMs }: Round): number => (answers.length / elapsedMs) * 1000

function cpuPerRequest(rounds: readonly Round[]): TargetResult['cpuMsPerRequest'] {
  const requests = sum(rounds.map(({ answers }) => answers.length))
  const names = Object.keys(rounds[0]?.cpuMs ?? {}) as ProcessName[]
  return Object.fromEntries(
    names.map((name) => [name, sum(rounds.map(({ cpuMs }) => cpuMs[name] ?? 0)) / requests]),
  )
}

function ratios(rounds: readonly Round[], direct: readonly Round[], isStream: boolean): Ratios {
  const ratioOf = (read: (round: Round) => number): number =>
    median(
      rounds.map((round, index) => {
        const base = direct[index]
        if (base === undefined) throw new Error('a round without a direct one')
        return read(round) / read(base)
      }),
    )
  const latency = (share: number) => (round: Round) =>
    quantile(
      round.answers.map(({ latencyMs }) => latencyMs),
      share,
    )
  const ttft = (round: Round) =>
    quantile(
      round.answers.map(({ ttftMs }) => ttftMs),
      0.5,
    )
  const rate = ratioOf(requestsPerSec)
  return {
    requestsPerSec: rate,
    latencyP50: ratioOf(latency(0.5)),
    latencyP99: ratioOf(latency(0.99)),
    ttftP50: isStream ? ratioOf(ttft) : null,
    // The same number of events for each request: the ratio is the requests'.
    eventsPerSec: isStream ? rate : null,
  }
}
