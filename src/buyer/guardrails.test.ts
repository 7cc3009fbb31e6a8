import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { exactRequirements } from '../wire/exact.ts'
import { canonicalCollector, canonicalEscrow, type NetworkTerms } from '../wire/network.ts'
import type { PaymentRequired, PaymentRequirements } from '../wire/x402.ts'
import { judgeStock, partyOf, type StockRules } from './guardrails.ts'

const network: NetworkTerms = {
  chainId: 84_532,
  caip2: 'eip155:84532',
  escrow: canonicalEscrow,
  collector: canonicalCollector,
  asset: '0x036cbd53842c5426634e7929541ec2318f3dcf7e',
  assetName: 'USDC',
  assetVersion: '2',
}
const seller = `0x${'a1'.repeat(20)}` as const
const authorizer = `0x${'b2'.repeat(20)}` as const
const payer = `0x${'c3'.repeat(20)}` as const
const rules: StockRules = {
  network,
  sellerUrl: 'https://seller.test',
  payer,
  maxPerRequest: 50_000n,
  maxDeposit: 2_000_000n,
  pinned: null,
}

const transfer = (change: Partial<PaymentRequirements> = {}): PaymentRequirements => ({
  ...exactRequirements(network, seller, 1000n, 300),
  ...change,
})
const lane = (change: Partial<PaymentRequirements> = {}, extra: object = {}): PaymentRequirements => ({
  ...transfer(change),
  scheme: 'batch-settlement',
  extra: { name: 'USDC', version: '2', receiverAuthorizer: authorizer, withdrawDelay: 86_400, ...extra },
})
const ask = (...accepts: PaymentRequirements[]): PaymentRequired => ({
  x402Version: 2,
  resource: { url: 'https://seller.test/v1/chat/completions' },
  accepts,
})
const judge = (required: PaymentRequired, change: Partial<StockRules> = {}) =>
  judgeStock(required, { ...rules, ...change })

test('a channel comes before a transfer and the cheaper before the dearer, whatever the order they are listed in', () => {
  const listed = [transfer({ amount: '900' }), lane({ amount: '2000' }), transfer({ amount: '5' }), lane()]
  for (const accepts of [listed, listed.toReversed()]) {
    const verdict = judge(ask(...accepts))
    if (verdict.kind === 'refuse') throw new Error(verdict.reason)
    expect(verdict.choices.map(({ kind, amount }) => [kind, amount])).toEqual([
      ['lane', 1000n],
      ['lane', 2000n],
      ['exact', 5n],
      ['exact', 900n],
    ])
  }
})

describe('what is not paid', () => {
  const cases: [what: string, entry: PaymentRequirements][] = [
    ['another scheme', transfer({ scheme: 'upto' })],
    ['another chain', transfer({ network: 'eip155:8453' })],
    ['another token', transfer({ asset: seller })],
    ['our token by another domain', transfer({ extra: { name: 'USD Coin', version: '2' } })],
    ['no domain at all', transfer({ extra: {} })],
    ['permit2', transfer({ extra: { name: 'USDC', version: '2', assetTransferMethod: 'permit2' } })],
    ['nobody', transfer({ payTo: `0x${'0'.repeat(40)}` })],
    ['ourselves', transfer({ payTo: payer })],
    ['a name', transfer({ payTo: 'seller.eth' })],
    ['nothing', transfer({ amount: '0' })],
    ['dollars', transfer({ amount: '0.01' })],
    ['an exponent', transfer({ amount: '1e3' })],
    ['hex', transfer({ amount: '0x10' })],
    ['a sign', transfer({ amount: '-5' })],
    ['a leading zero', transfer({ amount: '01' })],
    ['white space', transfer({ amount: ' 5' })],
    ['more than the cap', transfer({ amount: '50001' })],
    ['18 decimals', transfer({ amount: '1000000000000000' })],
    ['more than any amount', transfer({ amount: '9'.repeat(40) })],
    ['no time', transfer({ maxTimeoutSeconds: 3 })],
    ['a channel without authorizer', lane({}, { receiverAuthorizer: undefined })],
    ['a channel that locks money for a year', lane({}, { withdrawDelay: 31_536_000 })],
    ['a channel with a delay in words', lane({}, { withdrawDelay: '86400' })],
    ['a deposit above the cap', lane({}, { minDeposit: '2000001' })],
  ]
  test.for(cases)('%s', ([, entry]) => {
    expect(judge(ask(entry))).toMatchObject({ kind: 'refuse' })
    // What is wrong with one entry takes nothing from another.
    expect(judge(ask(entry, transfer()))).toMatchObject({ kind: 'pay', choices: [{ amount: 1000n }] })
  })

  test('a resource at another host than the one the user named', () => {
    const urls = ['https://seller.test.evil.example/x', 'https://sel1er.test/v1/chat', 'seller.test', 'x:']
    for (const url of urls)
      expect(judge({ ...ask(transfer()), resource: { url } })).toMatchObject({ kind: 'refuse' })
    expect(judge({ ...ask(transfer()), resource: { url: 'http://seller.test/other' } }).kind).toBe('pay')
  })
})

test('an authorization never outlives ten minutes', () => {
  const verdict = judge(ask(transfer({ maxTimeoutSeconds: 315_360_000 })))
  expect(verdict).toMatchObject({ choices: [{ validForSec: 600 }] })
})

test('whoever was paid once stays the one who is paid', () => {
  const first = judge(ask(lane()))
  if (first.kind === 'refuse') throw new Error(first.reason)
  const pinned = partyOf(first.choices[0], null)
  expect(judge(ask(lane(), transfer()), { pinned })).toMatchObject({ kind: 'pay' })
  const others = [
    transfer({ payTo: payer.replace('c3', 'd4') }),
    lane({ payTo: authorizer }),
    lane({}, { receiverAuthorizer: seller }),
    lane({}, { withdrawDelay: 900 }),
  ]
  for (const other of others) expect(judge(ask(other), { pinned })).toMatchObject({ kind: 'refuse' })
})

test('whatever is asked, only our token, our chain and amounts within the cap are ever chosen', () => {
  const value = fc.oneof(fc.string(), fc.bigInt().map(String), fc.constantFrom('1000', 'exact', seller))
  const entry = fc.record({
    scheme: fc.constantFrom('exact', 'batch-settlement', 'upto'),
    network: fc.constantFrom('eip155:84532', 'eip155:1'),
    amount: value,
    asset: fc.constantFrom(network.asset, seller),
    payTo: fc.constantFrom(seller, payer, 'nobody'),
    maxTimeoutSeconds: fc.double({ min: 1, max: 1e9 }),
    extra: fc.constantFrom(lane().extra ?? {}, { name: 'USDC', version: '2' }, {}),
  })
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1, maxLength: 6 }), (accepts) => {
      const verdict = judge(ask(...accepts))
      if (verdict.kind === 'refuse') return
      for (const { amount, payTo, entry } of verdict.choices) {
        expect(amount > 0n && amount <= rules.maxPerRequest).toBe(true)
        expect([payTo, entry.asset, entry.network]).toEqual([seller, network.asset, network.caip2])
      }
    }),
    { numRuns: 300 },
  )
})
