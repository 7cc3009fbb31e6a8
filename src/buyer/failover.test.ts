import { describe, expect, test } from 'vitest'
import { termsWith } from '../../test/fixtures/buyer-market.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import { OpenSeedError } from '../base/errors.ts'
import { withFailover } from './failover.ts'
import type { SellerReport } from './health.ts'
import type { Route } from './route.ts'

const terms = termsWith()
const routeTo = (sellerUrl: string, amount: bigint): Route => ({
  sellerUrl,
  terms,
  signedOffer: terms.offers[0]!,
  ceiling: { amount, maxOutput: 1, n: 1, promptBound: 1 },
})

const failure = (code: ErrorCode, details?: Record<string, unknown>) =>
  new OpenSeedError(code, { message: `${code}.`, details })

const busy = (retryAfterSec: number) => failure('rate_limit_exceeded', { retryAfterSec })

/** Runs against sellers that answer as told, in order: an error is thrown, a string is the reply. */
async function run(
  answers: (OpenSeedError | string)[],
  { maxAttempts = 3, abortAfter = Infinity, cap = 100n, ceilings = [1n], funded = [0], doubted = [-1] } = {},
) {
  const controller = new AbortController()
  const asked: string[] = []
  const lefts: bigint[] = []
  const reports: [string, SellerReport][] = []
  const isFunded = ({ sellerUrl }: Route) => funded.some((n) => sellerUrl === `http://s${n}`)
  const isDoubted = (url: string) => doubted.some((n) => url === `http://s${n}`)
  const outcome = await withFailover(
    answers.map((_, i) => routeTo(`http://s${i}`, ceilings[i] ?? 1n)),
    (route, left) => {
      lefts.push(left)
      const answer = answers[asked.length]!
      asked.push(route.sellerUrl)
      if (asked.length === abortAfter) controller.abort()
      return typeof answer === 'string' ? Promise.resolve(answer) : Promise.reject(answer)
    },
    { report: (url, report) => reports.push([url, report]), maxAttempts, cap, isFunded, isDoubted },
    controller.signal,
  ).catch((error: unknown) => error as OpenSeedError)
  return { outcome, asked, reports, lefts }
}

test('the first seller that answers is taken, and those before it cool down', async () => {
  const { outcome, reports } = await run([failure('seller_unreachable'), failure('engine_failed'), 'reply'])
  expect(outcome).toEqual({ result: 'reply', attempts: 3, lost: 0n })
  expect(reports).toEqual([
    ['http://s0', { kind: 'failed' }],
    ['http://s1', { kind: 'failed' }],
    ['http://s2', { kind: 'ok' }],
  ])
})

test('a busy seller is left alone for as long as it asks', async () => {
  const { reports } = await run([failure('rate_limit_exceeded', { retryAfterSec: 7 }), 'reply'])
  expect(reports[0]).toEqual(['http://s0', { kind: 'busy', retryAfterMs: 7000 }])
})

test.each<ErrorCode>(['invalid_request', 'request_aborted', 'internal_error'])(
  '%s is not the seller: nobody else is asked and nobody cools down',
  async (code) => {
    const { outcome, asked, reports } = await run([failure(code), 'never'])
    expect(outcome).toMatchObject({ code })
    expect(asked.length).toBe(1)
    expect(reports).toEqual([])
  },
)

test.each<ErrorCode>([
  'model_not_found',
  'money_outcome_unknown',
  'payment_refused',
  'settlement_overdue',
  'shutting_down',
])('a seller that answers %s does not stay the first to be asked', async (code) => {
  const { outcome, reports } = await run([failure(code), 'reply'])
  expect(outcome).toMatchObject({ attempts: 2 })
  expect(reports[0]).toEqual(['http://s0', { kind: 'failed' }])
})

test('money trouble with one seller tries another without blaming it', async () => {
  const { outcome, reports } = await run([failure('channel_underfunded'), 'reply'])
  expect(outcome).toMatchObject({ attempts: 2 })
  expect(reports).toEqual([['http://s1', { kind: 'ok' }]])
})

describe('where a deposit cannot be signed', () => {
  test('the next seller may need a smaller one, and none loses its turn', async () => {
    const cannot = failure('budget_exceeded')
    const { asked, outcome, reports } = await run([cannot, cannot, cannot, failure('seller_failed'), 'reply'])
    expect(asked).toHaveLength(5)
    expect(outcome).toMatchObject({ result: 'reply' })
    expect(reports.map(([url]) => url)).toEqual(['http://s3', 'http://s4'])
  })

  test.each<ErrorCode>(['balance_insufficient', 'chain_unavailable'])(
    'after %s those that hold one come first',
    async (code) => {
      const { asked } = await run([failure(code), 'reply', 'never', 'never'], { funded: [2] })
      expect(asked).toEqual(['http://s0', 'http://s2'])
    },
  )

  test('not everybody is tried', async () => {
    const { asked, outcome } = await run(Array.from({ length: 20 }, () => failure('balance_insufficient')))
    expect(asked).toHaveLength(8)
    expect(outcome).toMatchObject({ code: 'balance_insufficient' })
  })
})

describe('a seller that calls the request wrong', () => {
  const wrong = failure('invalid_request', { status: 400 })
  const refused = (n: number) => [`http://s${n}`, { kind: 'refused' }]

  test('is believed', async () => {
    const { asked, reports } = await run([wrong, 'never'])
    expect(asked).toHaveLength(1)
    expect(reports).toEqual([refused(0)])
  })

  test('has failed when it is doubted and the next one serves the request', async () => {
    const { outcome, reports } = await run([wrong, 'reply'], { doubted: [0] })
    expect(outcome).toMatchObject({ result: 'reply', attempts: 2 })
    expect(reports).toEqual([refused(0), ['http://s1', { kind: 'ok' }], ['http://s0', { kind: 'failed' }]])
  })

  test('is right when the next one says so too', async () => {
    const { asked, outcome, reports } = await run([wrong, wrong, 'never'], { doubted: [0, 1, 2] })
    expect(asked).toHaveLength(2)
    expect(outcome).toMatchObject({ code: 'invalid_request' })
    expect(reports).toEqual([refused(0), refused(1)])
  })
})

test('after an abort nobody else is asked and nobody is blamed', async () => {
  const { asked, reports } = await run([failure('seller_timeout'), 'never'], { abortAfter: 1 })
  expect(asked.length).toBe(1)
  expect(reports).toEqual([])
})

test('no more sellers are asked than allowed', async () => {
  const { asked } = await run(
    Array.from({ length: 5 }, () => failure('seller_failed')),
    { maxAttempts: 2 },
  )
  expect(asked).toEqual(['http://s0', 'http://s1'])
})

describe('one request costs no more than its cap, whoever is asked', () => {
  const lost = (charged: string | null) => failure('seller_timeout', { charged })

  test('an attempt of unknown outcome counts at its ceiling, a known one at what it cost', async () => {
    const { outcome, lefts } = await run([lost('5'), lost(null), 'reply'], {
      cap: 50n,
      ceilings: [9n, 20n, 25n],
    })
    expect(lefts).toEqual([50n, 45n, 25n])
    expect(outcome).toEqual({ result: 'reply', attempts: 3, lost: null })
  })

  test('what could pass the cap is not tried, what is cheaper is', async () => {
    const { asked, outcome } = await run([lost(null), 'reply', 'never'], {
      cap: 50n,
      ceilings: [40n, 11n, 10n],
    })
    expect(asked).toEqual(['http://s0', 'http://s2'])
    expect(outcome).toMatchObject({ attempts: 2 })
  })

  test('with nothing left nobody else is asked', async () => {
    const { asked, outcome } = await run([lost(null), 'never'], { cap: 40n, ceilings: [40n, 1n] })
    expect(asked).toEqual(['http://s0'])
    expect(outcome).toMatchObject({ code: 'seller_timeout', details: { charged: null } })
  })

  test('a request that never left costs nothing', async () => {
    const { outcome } = await run([failure('seller_unreachable'), 'reply'], { cap: 1n })
    expect(outcome).toEqual({ result: 'reply', attempts: 2, lost: 0n })
  })
})

describe('the error after all failed', () => {
  test('names every seller that was tried', async () => {
    const { outcome } = await run([failure('seller_unreachable'), failure('seller_timeout')])
    expect(outcome).toMatchObject({
      code: 'seller_timeout',
      message: 'seller_timeout. Also tried: http://s0 (seller_unreachable).',
      details: { attempts: 2, seller: 'http://s1' },
    })
  })

  test('is the one that somebody can act on', async () => {
    const { outcome } = await run([failure('channel_underfunded'), failure('seller_unreachable')])
    expect(outcome).toMatchObject({ code: 'channel_underfunded', details: { seller: 'http://s0' } })
  })

  test('carries the shortest wait', async () => {
    const { outcome } = await run([busy(9), busy(4)])
    expect(outcome).toMatchObject({ code: 'rate_limit_exceeded', details: { retryAfterSec: 4 } })
  })

  test('counts money that is gone or may be', async () => {
    const charged = (amount: string | null) => failure('seller_failed', { charged: amount })
    expect((await run([charged('5'), failure('seller_failed'), charged('7')])).outcome).toMatchObject({
      details: { charged: '12' },
    })
    expect((await run([charged('5'), charged(null)])).outcome).toMatchObject({ details: { charged: null } })
  })

  test('without any route is no_seller', async () => {
    expect((await run([])).outcome).toMatchObject({ code: 'no_seller' })
  })
})
