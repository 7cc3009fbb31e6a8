import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { maxUsdc, parseAmount, parseUsd } from './amount.ts'
import {
  encodeBatchPayload,
  encodeChannelState,
  encodeVoucherState,
  parseBatchPayload,
  parseChannelState,
  parseVoucherState,
} from './batch-settlement.ts'
import { encodeChannelConfig, parseChannelConfig } from './channel.ts'
import {
  encodeReceiptExtension,
  encodeRequestExtension,
  encodeTermsExtension,
  parseFinal,
  parsePaymentIdentifier,
  parseReceiptExtension,
  parseRequestExtension,
  parseTermsExtension,
} from './extension.ts'
import { asAddress, asHex, asHex32, bytesToHex } from './hex.ts'
import { encodeSignedOffer, parseSignedOffer } from './offer.ts'
import { encodeSignedReceipt, parseSignedReceipt } from './receipt.ts'
import { encodeStatusQuery, encodeStatusReply, parseStatusQuery, parseStatusReply } from './status.ts'
import { encodeSellerTerms, parseSellerTerms } from './terms.ts'
import {
  encodeHeader,
  parsePaymentPayload,
  parsePaymentRequired,
  parseSettlementResponse,
  type PaymentPayload,
} from './x402.ts'

const hexOf = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(bytesToHex)
const bytes32 = hexOf(32)
const address = hexOf(20)
const signature = fc.oneof(hexOf(65), hexOf(97))
const amount = fc.bigInt({ min: 0n, max: maxUsdc })
const positive = fc.bigInt({ min: 1n, max: maxUsdc })
const count = fc.maxSafeNat()
const timeSec = fc.integer({ min: 0, max: 2 ** 40 - 1 })
const text = fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' })

const config = fc.record({
  payer: address,
  payerAuthorizer: address,
  receiver: address,
  receiverAuthorizer: address,
  token: address,
  withdrawDelay: timeSec,
  salt: bytes32,
})
const voucher = fc.record({ channelId: bytes32, maxClaimable: amount, signature })
const authorization = fc.record({ validAfter: count, validBefore: count, salt: bytes32, signature })
const batchPayload = fc.oneof(
  fc.record({ type: fc.constant('voucher' as const), config, voucher }),
  fc.record({
    type: fc.constant('deposit' as const),
    config,
    voucher,
    deposit: fc.record({ amount: positive, authorization }),
  }),
  fc.record(
    { type: fc.constant('refund' as const), config, voucher, amount: positive },
    { requiredKeys: ['type', 'config', 'voucher'] },
  ),
)
const channelState = fc.record(
  {
    channelId: bytes32,
    balance: amount,
    totalClaimed: amount,
    withdrawRequestedAt: timeSec,
    refundNonce: fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
    chargedCumulativeAmount: amount,
  },
  { requiredKeys: ['channelId', 'balance', 'totalClaimed', 'withdrawRequestedAt', 'refundNonce'] },
)
const signedReceipt = fc.record({
  receipt: fc.record({
    channelId: bytes32,
    requestId: bytes32,
    offerHash: bytes32,
    responseHash: bytes32,
    inputTokens: count,
    cachedTokens: count,
    outputTokens: count,
    charged: amount,
    cumulative: amount,
    completedAtSec: timeSec,
  }),
  signature,
})
const final = fc.oneof(
  fc.record({ id: bytes32, state: fc.constant('open' as const), ceiling: amount }),
  signedReceipt.map((receipt) => ({ id: receipt.receipt.requestId, state: 'final' as const, receipt })),
)
const signedOffer = fc.record({
  offer: fc.record({
    modelHash: bytes32,
    payTo: address,
    priceIn: amount,
    priceCached: amount,
    priceOut: amount,
    fixedPrice: amount,
    maxContext: count,
    maxOutput: count,
    validUntilSec: timeSec,
    detailsHash: bytes32,
  }),
  details: fc.record(
    {
      model: text,
      min: positive,
      defOut: count,
      img: count,
      maxN: count,
      engine: text,
      quantization: text,
      rest: fc.constant({ licence: 'MIT', vision: true, layers: 80 }),
    },
    { requiredKeys: ['model', 'min', 'defOut', 'img', 'maxN'] },
  ),
  signature,
  hash: bytes32,
})
const prices = { priceIn: amount, priceCached: amount, priceOut: amount, fixedPrice: amount }
const openseedTerms = fc.record(
  {
    ...prices,
    offerHash: bytes32,
    model: text,
    channel: fc.record({
      charged: amount,
      held: amount,
      signed: amount,
      open: fc.array(fc.record({ id: bytes32, ceiling: amount }), { maxLength: 8 }),
    }),
  },
  { requiredKeys: ['priceIn', 'priceCached', 'priceOut', 'fixedPrice', 'offerHash', 'model'] },
)
const request = fc.record(
  {
    id: bytes32,
    bodyHash: bytes32,
    offerHash: bytes32,
    ceiling: amount,
    admitBySec: timeSec,
    signature,
    unresolved: fc.array(bytes32, { maxLength: 16 }),
    ack: amount,
  },
  { requiredKeys: ['id', 'bodyHash', 'offerHash', 'ceiling', 'admitBySec', 'signature'] },
)
const receiptExtension = fc.record({
  receipt: fc.option(signedReceipt),
  finals: fc.array(final, { maxLength: 4 }),
})
const statusQuery = fc.record({
  channelId: bytes32,
  ids: fc.array(bytes32, { maxLength: 4 }),
  askedAtSec: timeSec,
  signature,
})
const statusReply = fc.record(
  { finals: fc.array(final, { maxLength: 4 }), charged: amount, held: amount, signed: amount, signature },
  { requiredKeys: ['finals', 'charged', 'held', 'signed'] },
)
const sellerTerms = fc.record({
  network: fc.integer({ min: 1 }).map((chainId) => `eip155:${chainId}`),
  escrow: address,
  collector: address,
  asset: address,
  assetName: text,
  assetVersion: text,
  payTo: address,
  receiverAuthorizer: address,
  withdrawDelay: timeSec,
  minDeposit: amount,
  maxTimeoutSeconds: timeSec,
  maxBodyBytes: count,
  offers: fc.array(signedOffer, { maxLength: 3 }),
})
const requirements = fc.record(
  {
    scheme: text,
    network: fc.constantFrom('eip155:8453', 'solana:devnet'),
    amount: text,
    asset: text,
    payTo: text,
    maxTimeoutSeconds: fc.integer({ min: 1 }),
    // As JSON carries it: the text has no -0.
    extra: fc
      .dictionary(text, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 })
      .map((extra): unknown => JSON.parse(JSON.stringify(extra))),
  },
  { requiredKeys: ['scheme', 'network', 'amount', 'asset', 'payTo', 'maxTimeoutSeconds'] },
)
const payment = fc.record({
  x402Version: fc.constant(2 as const),
  accepted: requirements,
  payload: batchPayload.map(encodeBatchPayload),
  extensions: request.map((request) => ({ openseed: encodeRequestExtension(request) })),
}) as fc.Arbitrary<PaymentPayload>

const overJson =
  <Value>(encode: (value: Value) => unknown, parse: (input: unknown) => unknown) =>
  (value: Value) =>
    parse(JSON.parse(JSON.stringify(encode(value))) as unknown)
const roundTrip =
  <Value>(values: fc.Arbitrary<Value>, again: (value: Value) => unknown) =>
  () =>
    fc.assert(
      fc.property(values, (value) => {
        expect(again(value)).toEqual(value)
      }),
      { numRuns: 40 },
    )

const voucherState = fc.record({ signedMaxClaimable: amount, signature })
const within =
  <Value>(encode: (value: Value) => unknown) =>
  (value: Value) => ({ openseed: encode(value) })
const roundTrips: Record<string, () => void> = {
  'channel configs': roundTrip(config, overJson(encodeChannelConfig, parseChannelConfig)),
  'batch-settlement payloads': roundTrip(batchPayload, overJson(encodeBatchPayload, parseBatchPayload)),
  'channel states': roundTrip(channelState, overJson(encodeChannelState, parseChannelState)),
  'voucher states': roundTrip(voucherState, overJson(encodeVoucherState, parseVoucherState)),
  receipts: roundTrip(signedReceipt, overJson(encodeSignedReceipt, parseSignedReceipt)),
  offers: roundTrip(signedOffer, overJson(encodeSignedOffer, parseSignedOffer)),
  'seller terms': roundTrip(sellerTerms, overJson(encodeSellerTerms, parseSellerTerms)),
  'status questions': roundTrip(statusQuery, overJson(encodeStatusQuery, parseStatusQuery)),
  'status replies': roundTrip(statusReply, overJson(encodeStatusReply, parseStatusReply)),
  'our part of a 402': roundTrip(openseedTerms, overJson(within(encodeTermsExtension), parseTermsExtension)),
  'our part of a payment': roundTrip(
    request,
    overJson(within(encodeRequestExtension), parseRequestExtension),
  ),
  'our part of a reply': roundTrip(
    receiptExtension,
    overJson(within(encodeReceiptExtension), parseReceiptExtension),
  ),
  payments: roundTrip(payment, (payment) => parsePaymentPayload(encodeHeader(payment))),
}

test.each(Object.entries(roundTrips))('%s read back as the value that was encoded', (_name, holds) => {
  expect(holds).not.toThrow()
})

const parsers: Record<string, (input: unknown) => unknown> = {
  parseAmount,
  parseUsd,
  asHex,
  asHex32,
  asAddress,
  parseChannelConfig,
  parseBatchPayload,
  parseChannelState,
  parseVoucherState,
  parseSignedReceipt,
  parseSignedOffer,
  parseSellerTerms,
  parseStatusQuery,
  parseStatusReply,
  parseFinal,
  parseTermsExtension,
  parseRequestExtension,
  parseReceiptExtension,
  parsePaymentIdentifier,
  parsePaymentRequired,
  parsePaymentPayload,
  parseSettlementResponse,
}
const valid: fc.Arbitrary<unknown> = fc.oneof(
  config.map(encodeChannelConfig),
  batchPayload.map(encodeBatchPayload),
  channelState.map(encodeChannelState),
  signedReceipt.map(encodeSignedReceipt),
  signedOffer.map(encodeSignedOffer),
  sellerTerms.map(encodeSellerTerms),
  statusQuery.map(encodeStatusQuery),
  statusReply.map(encodeStatusReply),
  request.map((request) => ({ openseed: encodeRequestExtension(request) })),
  openseedTerms.map((terms) => ({ openseed: encodeTermsExtension(terms) })),
  receiptExtension.map((extension) => ({ openseed: encodeReceiptExtension(extension) })),
)

/** A valid message with one value, at any depth, put in place of another. */
const damaged = fc
  .tuple(valid, fc.infiniteStream(fc.nat(9)), fc.jsonValue({ maxDepth: 1 }))
  .map(([value, picks, junk]) => {
    const copy = structuredClone(value) as Record<string, unknown>
    let at = copy
    for (;;) {
      const keys = Object.keys(at)
      const key = keys[picks.next().value! % Math.max(1, keys.length)]
      if (key === undefined) return copy
      const inner = at[key]
      if (typeof inner !== 'object' || inner === null || picks.next().value! < 3) {
        at[key] = junk
        return copy
      }
      at = inner as Record<string, unknown>
    }
  })

const outcomeOf = (parse: (input: unknown) => unknown, input: unknown) => {
  try {
    parse(input)
    return 'parsed'
  } catch (error) {
    return error instanceof OpenSeedError ? 'refused' : error
  }
}
const anything = fc.oneof(fc.anything(), fc.jsonValue(), fc.uint8Array(), fc.string())
const headerValue = fc
  .oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.oneof(fc.jsonValue(), damaged).map((value) => Buffer.from(JSON.stringify(value))),
  )
  .map((bytes) => bytes.toString('base64'))

test.each(Object.entries(parsers))(
  '%s throws only typed errors: at anything, at damaged messages, at arbitrary headers',
  (_name, parse) => {
    fc.assert(
      fc.property(fc.oneof(anything, damaged, headerValue), (input) => {
        expect(['parsed', 'refused']).toContain(outcomeOf(parse, input))
      }),
      { numRuns: 200 },
    )
  },
)
