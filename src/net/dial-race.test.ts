import { array, assert, asyncProperty, boolean, nat, record } from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { raceDials, type Contender } from './dial-race.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const headStartMs = 150

interface Way {
  rank: number
  tookMs: number
  opens: boolean
}

interface Run {
  outcome: { way: Way } | { error: unknown }
  atMs: number
  startedMs: Map<Way, number>
  late: Way[]
  aborted: Set<Way>
}

async function run(ways: readonly Way[], abortAtMs = Number.POSITIVE_INFINITY): Promise<Run> {
  const beganMs = performance.now()
  const now = () => performance.now() - beganMs
  const startedMs = new Map<Way, number>()
  const late: Way[] = []
  const aborted = new Set<Way>()
  const contenders: Contender<Way>[] = ways.map((way) => ({
    rank: way.rank,
    open: (signal) =>
      new Promise((resolve, reject) => {
        startedMs.set(way, now())
        const timer = setTimeout(() => (way.opens ? resolve(way) : reject(new Error('closed'))), way.tookMs)
        signal.addEventListener('abort', () => {
          clearTimeout(timer)
          aborted.add(way)
          reject(signal.reason)
        })
      }),
  }))
  const stop = new AbortController()
  if (Number.isFinite(abortAtMs)) setTimeout(() => stop.abort(new Error('called off')), abortAtMs)
  let atMs = -1
  const racing = raceDials(contenders, { headStartMs, signal: stop.signal, onLate: (way) => late.push(way) })
  const outcome = racing.then(
    (way) => ((atMs = now()), { way }),
    (error: unknown) => ((atMs = now()), { error }),
  )
  await vi.advanceTimersByTimeAsync(10_000)
  return { outcome: await outcome, atMs, startedMs, late, aborted }
}

/** When each way would have started and ended, had nobody won before. */
function timetable(ways: readonly Way[]): Map<Way, number> {
  const ends = new Map<Way, number>()
  let startMs = 0
  for (const rank of [...new Set(ways.map((way) => way.rank))].toSorted((a, b) => a - b)) {
    for (const way of ways) if (way.rank === rank) ends.set(way, startMs + way.tookMs)
    const failedMs = Math.max(...[...ends].map(([way, endMs]) => (way.opens ? Infinity : endMs)))
    startMs = Math.min(startMs + headStartMs, Math.max(startMs, failedMs))
  }
  return ends
}

const wayOf = record({
  rank: nat(3),
  // Odd steps, so that no two events fall on one moment by the head starts alone.
  tookMs: nat(500).map((ms) => ms * 2 + 1),
  opens: boolean(),
})

test('the way that would open first wins, and every other value is handed over', async () => {
  await assert(
    asyncProperty(array(wayOf, { minLength: 1, maxLength: 6 }), async (ways) => {
      const { outcome, atMs, startedMs, late, aborted } = await run(ways)
      const ends = timetable(ways)
      const opening = ways.filter(({ opens }) => opens)
      if (opening.length === 0) {
        expect(outcome).toEqual({ error: expect.any(AggregateError) })
        expect(startedMs.size).toBe(ways.length)
        return
      }
      const firstMs = Math.min(...opening.map((way) => ends.get(way)!))
      if (!('way' in outcome)) throw outcome.error
      expect(atMs).toBe(firstMs)
      expect(ends.get(outcome.way)).toBe(firstMs)
      for (const way of ways) {
        if (way === outcome.way || !startedMs.has(way)) continue
        // Better ways go on to their end; the others are called off, unless they were through already.
        if (aborted.has(way)) expect(way.rank).toBeGreaterThanOrEqual(outcome.way.rank)
        else if (way.opens) expect(late).toContain(way)
      }
      expect(late).not.toContain(outcome.way)
    }),
    { numRuns: 150 },
  )
})

test('a rank never starts before its head start unless all better ways have failed', async () => {
  await assert(
    asyncProperty(array(wayOf, { minLength: 1, maxLength: 6 }), async (ways) => {
      const { startedMs } = await run(ways)
      const ends = timetable(ways)
      for (const [way, ms] of startedMs) expect(ms).toBe(ends.get(way)! - way.tookMs)
    }),
    { numRuns: 100 },
  )
})

test('a signal ends all of them, whenever it comes', async () => {
  await assert(
    asyncProperty(array(wayOf, { minLength: 1, maxLength: 6 }), nat(600), async (ways, half) => {
      const abortAtMs = half * 2
      const { outcome, atMs, startedMs, aborted } = await run(ways, abortAtMs)
      if (atMs < abortAtMs) return
      expect(outcome).toEqual({ error: expect.objectContaining({ message: 'called off' }) })
      const ends = timetable(ways)
      for (const way of startedMs.keys()) if (ends.get(way)! > abortAtMs) expect(aborted).toContain(way)
    }),
    { numRuns: 100 },
  )
})

describe('in a race', () => {
  test('a better way that opens after the winner is kept and handed over', async () => {
    const slow = { rank: 0, tookMs: 401, opens: true }
    const quick = { rank: 1, tookMs: 51, opens: true }
    const { outcome, late } = await run([slow, quick])
    expect(outcome).toEqual({ way: quick })
    expect(late).toEqual([slow])
  })

  test('the signal of the winner is never fired, because its connection may live by it', async () => {
    let winners: AbortSignal | null = null
    const stop = new AbortController()
    await raceDials(
      [
        {
          rank: 0,
          open: async (signal) => {
            winners = signal
          },
        },
      ],
      { headStartMs, signal: stop.signal, onLate: () => {} },
    )
    stop.abort()
    expect(winners).toMatchObject({ aborted: false })
  })

  test('nothing is opened when the signal has fired before', async () => {
    const open = vi.fn<() => Promise<void>>(async () => {})
    const options = { headStartMs, signal: AbortSignal.abort(new Error('no')), onLate: () => {} }
    await expect(raceDials([{ rank: 0, open }], options)).rejects.toThrow('no')
    expect(open).not.toHaveBeenCalled()
  })
})
