import { expect, test } from 'vitest'
import { offerFor, sellerPayTo, termsWith, testRules } from '../../test/fixtures/buyer-market.ts'
import { encodeTermsExtension } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import type { SellerTerms } from '../wire/terms.ts'
import type { PaymentRequired } from '../wire/x402.ts'
import { changedIdentity, changedPrice, judgeTerms } from './terms-check.ts'

const otherAddress = `0x${'0c'.repeat(20)}` as const
const otherKey = `0x${'66'.repeat(32)}` as const

test('terms of our network with signed offers are accepted as they are', () => {
  const terms = termsWith()
  expect(judgeTerms(terms, testRules)).toEqual({ kind: 'accept', terms, dropped: 0 })
})

test('a seller without offers is accepted: it may have some later', () => {
  expect(judgeTerms(termsWith({ offers: [] }), testRules)).toMatchObject({ kind: 'accept', dropped: 0 })
})

test.each<[string, Partial<SellerTerms>]>([
  ['another chain', { network: 'eip155:8453' }],
  ['another escrow', { escrow: otherAddress }],
  ['another collector', { collector: otherAddress }],
  ['another token', { asset: otherAddress }],
  ['a token of another name', { assetName: 'USD Coin' }],
  ['a token of another version', { assetVersion: '1' }],
  ['nobody to pay', { payTo: `0x${'0'.repeat(40)}` }],
  ['nobody who signs', { receiverAuthorizer: `0x${'0'.repeat(40)}` }],
  ['a delay that the escrow refuses', { withdrawDelay: 899 }],
  ['an endless delay', { withdrawDelay: 2_592_001 }],
  ['offers by another key', { offers: [offerFor('m', { key: otherKey })] }],
])('terms with %s are refused', (_what, change) => {
  expect(judgeTerms(termsWith(change), testRules).kind).toBe('refuse')
})

test('offers that cannot be trusted are left out', () => {
  const good = offerFor('good')
  const { offer } = good
  const offers = [
    offerFor('other-key', { key: otherKey }),
    offerFor('other-payee', { offer: { payTo: otherAddress } }),
    { ...good, offer: { ...offer, priceOut: offer.priceOut - 1n } },
    { ...good, details: { ...good.details, maxN: 9 } },
    { ...good, hash: `0x${'77'.repeat(32)}` as const },
    good,
  ]
  expect(judgeTerms(termsWith({ offers }), testRules)).toEqual({
    kind: 'accept',
    terms: termsWith({ offers: [good] }),
    dropped: 5,
  })
})

test('who is paid, who signs, when money is free again and in what: none may change', () => {
  const before = termsWith()
  expect(changedIdentity(before, termsWith({ minDeposit: 5n, offers: [] }))).toBeNull()
  expect(sellerPayTo).not.toBe(otherAddress)
  for (const change of [
    { payTo: otherAddress },
    { receiverAuthorizer: otherAddress },
    { withdrawDelay: 900 },
    { asset: otherAddress },
  ]) {
    expect(changedIdentity(before, termsWith(change))).toBe(Object.keys(change)[0])
  }
})

test.each([
  ['engine', { engine: 'vllm' }],
  ['quantization', { quantization: 'q4' }],
  ['chat template', { templateHash: `0x${'12'.repeat(32)}` }],
])('an offer whose details name another %s than its signature covers is left out', (_what, other) => {
  const details = { engine: 'ollama', quantization: 'fp8', templateHash: `0x${'11'.repeat(32)}` }
  const signed = offerFor('m', { details })
  const good = offerFor('good', { details })
  const offers = [{ ...signed, details: { ...signed.details, ...other } }, good]
  expect(judgeTerms(termsWith({ offers }), testRules)).toMatchObject({
    terms: { offers: [good] },
    dropped: 1,
  })
})

test('a refusal that names another offer, or another price for the same one, is seen', () => {
  const signed = offerFor('m')
  const asked = { offerHash: signed.hash, ceiling: 1300n }
  const demand = (amount: string, offerHash: Hex): PaymentRequired => ({
    x402Version: 2,
    resource: { url: 'https://s/v1/chat/completions' },
    accepts: [
      {
        scheme: 'batch-settlement',
        network: 'eip155:1',
        amount,
        asset: '0x',
        payTo: '0x',
        maxTimeoutSeconds: 600,
      },
    ],
    extensions: { openseed: encodeTermsExtension({ ...signed.offer, offerHash, model: 'm' }) },
  })
  expect(changedPrice(asked, demand('1300', signed.hash))).toBeNull()
  expect(changedPrice(asked, demand('1400', signed.hash))).toBe('amount')
  expect(changedPrice(asked, demand('1300', offerFor('other').hash))).toBe('offer')
  // A seller that speaks stock x402 names no offer.
  expect(changedPrice(asked, { ...demand('1300', signed.hash), extensions: {} })).toBeNull()
})
