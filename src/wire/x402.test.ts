import { PaymentPayloadV2Schema, PaymentRequiredV2Schema } from '@x402/core/schemas'
import { describe, expect, test } from 'vitest'
import { encodeChannelState, encodeVoucherState, batchErrors } from './batch-settlement.ts'
import {
  advertisePaymentIdentifier,
  encodePaymentIdentifier,
  encodeReceiptExtension,
  encodeRequestExtension,
  encodeTermsExtension,
  mostOpenListed,
  mostUnresolved,
  parsePaymentIdentifier,
  parseReceiptExtension,
  parseRequestExtension,
  parseTermsExtension,
  requestIdOf,
} from './extension.ts'
import type { Hex } from './hex.ts'
import {
  acceptsEntry,
  encodeHeader,
  maxHeaderChars,
  parsePaymentPayload,
  parsePaymentRequired,
  parseSettlementResponse,
  type PaymentPayload,
  type PaymentRequired,
  type PaymentRequirements,
  type SettlementResponse,
} from './x402.ts'

const hex = (byte: string, bytes = 32): Hex => `0x${byte.repeat(bytes)}`
const most = 2n ** 63n - 1n
const parseTerms = (openseed: unknown) => parseTermsExtension({ openseed })
const parseIdentifier = (id: unknown) =>
  parsePaymentIdentifier({ 'payment-identifier': { info: { required: false, id } } })
const decode = (text: string) => JSON.parse(Buffer.from(text, 'base64').toString()) as unknown
const header = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64')

const batchEntry: PaymentRequirements = {
  scheme: 'batch-settlement',
  network: 'eip155:84532',
  amount: '1300',
  asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
  payTo: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC',
  maxTimeoutSeconds: 600,
  extra: {
    receiverAuthorizer: '0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65',
    withdrawDelay: 86_400,
    name: 'USDC',
    version: '2',
    assetTransferMethod: 'eip3009',
    minDeposit: '100000',
  },
}
const exactEntry: PaymentRequirements = {
  ...batchEntry,
  scheme: 'exact',
  extra: { name: 'USDC', version: '2' },
}
const terms = {
  offerHash: hex('ab'),
  model: 'meta-llama/Llama-3.3-70B-Instruct-AWQ-long-model-name',
  priceIn: 150_000n,
  priceCached: 15_000n,
  priceOut: 600_000n,
  fixedPrice: 50n,
}
const required: PaymentRequired = {
  x402Version: 2,
  error: 'payment required: set max_tokens to lower the price',
  resource: {
    url: 'https://a-seller-with-a-long-name.example.com/v1/chat/completions',
    description: 'Inference, paid per token',
    mimeType: 'application/json',
    serviceName: 'OpenSeed',
    tags: ['inference', 'openai'],
  },
  accepts: [batchEntry, exactEntry],
  extensions: {
    openseed: encodeTermsExtension(terms),
    'payment-identifier': advertisePaymentIdentifier(),
  },
}
const correctiveEntry: PaymentRequirements = {
  ...batchEntry,
  extra: {
    ...batchEntry.extra,
    channelState: encodeChannelState({
      channelId: hex('cd'),
      balance: most,
      totalClaimed: most,
      withdrawRequestedAt: 0,
      refundNonce: 12n,
      chargedCumulativeAmount: most,
    }),
    voucherState: encodeVoucherState({ signedMaxClaimable: most, signature: hex('ef', 65) }),
  },
}
const snapshot = {
  charged: 123_456_789n,
  held: 123_456_789n,
  signed: 123_456_789n,
  open: Array.from({ length: 20 }, (_, index) => ({ id: hex(`a${index % 10}`), ceiling: 110_000n })),
}
const payload: PaymentPayload = {
  x402Version: 2,
  resource: required.resource,
  accepted: batchEntry,
  payload: { type: 'voucher' },
  extensions: { 'payment-identifier': encodePaymentIdentifier(hex('01')) },
}
const settlement: SettlementResponse = {
  success: true,
  transaction: '',
  network: 'eip155:84532',
  payer: '0x70997970C51812dc3A010C7d01b50e0d17dc79C8',
  amount: '',
  extra: { chargedAmount: '1300' },
}

describe('headers', () => {
  test('read back as they were written', () => {
    expect(parsePaymentRequired(encodeHeader(required))).toEqual(required)
    expect(parsePaymentPayload(encodeHeader(payload))).toEqual(payload)
    expect(parseSettlementResponse(encodeHeader(settlement))).toEqual(settlement)
  })

  test('pass the schemas of the stock packages', () => {
    expect(PaymentRequiredV2Schema.parse(decode(encodeHeader(required)))).toEqual(required)
    expect(PaymentPayloadV2Schema.parse(decode(encodeHeader(payload)))).toEqual(payload)
  })

  test('treat null in an optional field as absent', () => {
    const nulls = {
      ...required,
      error: null,
      extensions: null,
      resource: { url: 'u', description: null, mimeType: null, serviceName: null, tags: null, iconUrl: null },
      accepts: [{ ...batchEntry, extra: null }],
    }
    const { extra: _, ...bare } = batchEntry
    expect(parsePaymentRequired(header(nulls))).toEqual({
      x402Version: 2,
      resource: { url: 'u' },
      accepts: [bare],
    })
    expect(parsePaymentPayload(header({ ...payload, resource: null, extensions: null }))).toEqual({
      x402Version: 2,
      accepted: batchEntry,
      payload: payload.payload,
    })
    expect(
      parseSettlementResponse(header({ ...settlement, payer: null, amount: null, extra: null })),
    ).toEqual({
      success: true,
      transaction: '',
      network: 'eip155:84532',
    })
  })

  test('that break the schema are refused', () => {
    const wrong: unknown[] = [
      { ...required, x402Version: 1 },
      { ...required, accepts: [] },
      { ...required, resource: {} },
      { ...required, resource: { url: 'u', tags: ['a', 'b', 'c', 'd', 'e', 'f'] } },
      { ...required, resource: { url: 'u', serviceName: 'x'.repeat(33) } },
      { ...required, accepts: [{ ...batchEntry, network: 'base' }] },
      { ...required, accepts: [{ ...batchEntry, maxTimeoutSeconds: 0 }] },
      { ...required, accepts: [{ ...batchEntry, amount: 1300 }] },
      { ...required, extensions: [] },
      [],
      null,
      'text',
    ]
    for (const value of wrong) {
      expect(() => parsePaymentRequired(header(value))).toThrow(
        expect.objectContaining({ code: 'invalid_message' }),
      )
      expect(PaymentRequiredV2Schema.safeParse(value).success).toBe(false)
    }
  })

  test('of more than 16 KiB, of no base64 and of no UTF-8 are refused', () => {
    const long = encodeHeader({ ...required, error: 'x'.repeat(maxHeaderChars) })
    for (const value of [
      long,
      '',
      'not base64!',
      '{}',
      undefined,
      ['a'],
      Buffer.from([0x22, 0xff, 0x22]).toString('base64'),
    ])
      expect(() => parsePaymentRequired(value)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
  })
})

describe('an accepted entry', () => {
  test('equals the advertised one and may add to extra', () => {
    expect(acceptsEntry(batchEntry, batchEntry)).toBe(true)
    expect(acceptsEntry({ ...batchEntry, extra: { ...batchEntry.extra, more: 1 } }, batchEntry)).toBe(true)
    const { extra: _, ...bare } = exactEntry
    expect(acceptsEntry(exactEntry, bare)).toBe(true)
  })

  test('with any other core field, or without an advertised extra, is not accepted', () => {
    for (const change of [
      { amount: '1299' },
      { payTo: batchEntry.asset },
      { maxTimeoutSeconds: 60 },
      { network: 'eip155:8453' },
      { scheme: 'exact' },
      { asset: batchEntry.payTo },
      { extra: { ...batchEntry.extra, withdrawDelay: '86400' } },
      { extra: {} },
    ])
      expect(acceptsEntry({ ...batchEntry, ...change }, batchEntry)).toBe(false)
  })
})

describe('sizes', () => {
  test('PAYMENT-REQUIRED stays below 4 kB, its openseed info below 1 kB', () => {
    expect(encodeHeader(required).length).toBeLessThanOrEqual(4096)
    const { info } = encodeTermsExtension({ ...terms, model: 'm'.repeat(256) })
    expect(JSON.stringify(info).length).toBeLessThanOrEqual(1024)
  })

  test('so does a corrective one for a buyer that lost its store, with many requests open', () => {
    const corrective: PaymentRequired = {
      ...required,
      error: batchErrors.cumulativeAmountMismatch,
      accepts: [correctiveEntry, exactEntry],
      extensions: { openseed: encodeTermsExtension({ ...terms, channel: snapshot }) },
    }
    expect(encodeHeader(corrective).length).toBeLessThanOrEqual(4096)
  })

  test('a reply with its receipt and sixteen finals fits a header', () => {
    const signed = {
      receipt: {
        channelId: hex('cd'),
        requestId: hex('01'),
        offerHash: hex('ab'),
        responseHash: hex('ef'),
        inputTokens: 131_072,
        cachedTokens: 131_072,
        outputTokens: 131_072,
        charged: 123_456_789n,
        cumulative: 123_456_789_012n,
        completedAtSec: 1_800_000_000,
      },
      signature: hex('cd', 65),
    }
    const finals = Array.from({ length: mostUnresolved }, () => ({
      id: hex('01'),
      state: 'final' as const,
      receipt: signed,
    }))
    const extra = { chargedAmount: '1300', channelState: correctiveEntry.extra!['channelState'] }
    const reply = {
      ...settlement,
      extra,
      extensions: { openseed: encodeReceiptExtension({ receipt: signed, finals }) },
    }
    expect(encodeHeader(reply).length).toBeLessThanOrEqual(maxHeaderChars)
    expect(parseSettlementResponse(encodeHeader(reply))).toEqual(reply)
  })
})

describe('the openseed extension', () => {
  const request = {
    id: hex('01'),
    bodyHash: hex('02'),
    offerHash: hex('03'),
    ceiling: 1300n,
    admitBySec: 1_800_000_000,
    signature: hex('04', 65),
  }

  test('tells one price and, to a buyer without state, the channel with the first open requests', () => {
    expect(parseTerms(encodeTermsExtension(terms))).toEqual(terms)
    expect(parseTerms(encodeTermsExtension({ ...terms, channel: snapshot }))).toEqual({
      ...terms,
      channel: { ...snapshot, open: snapshot.open.slice(0, mostOpenListed) },
    })
  })

  test('carries a signed request with or without questions', () => {
    for (const more of [{}, { unresolved: [hex('05')], ack: 7n }, { unresolved: [] }]) {
      const full = { ...request, ...more }
      expect(parseRequestExtension({ openseed: encodeRequestExtension(full) })).toEqual(full)
    }
  })

  test('echoed by a stock client holds no request', () => {
    expect(parseRequestExtension({ openseed: encodeTermsExtension(terms) })).toBeNull()
    expect(parseRequestExtension(undefined)).toBeNull()
    expect(parseRequestExtension({ other: {} })).toBeNull()
    expect(parseTermsExtension({})).toBeNull()
    expect(parseReceiptExtension(undefined)).toEqual({ receipt: null, finals: [] })
  })

  test('with more than sixteen unresolved ids is refused', () => {
    const unresolved = Array.from({ length: mostUnresolved + 1 }, () => hex('05'))
    expect(() =>
      parseRequestExtension({ openseed: encodeRequestExtension({ ...request, unresolved }) }),
    ).toThrow(expect.objectContaining({ code: 'invalid_message' }))
  })
})

describe('the payment identifier', () => {
  test('of ours is the request id without 0x', () => {
    const extensions = { 'payment-identifier': encodePaymentIdentifier(hex('0a')) }
    const identifier = parsePaymentIdentifier(extensions)
    expect(identifier).toBe('0a'.repeat(32))
    expect(requestIdOf(identifier!)).toBe(hex('0a'))
  })

  test('of others may be any 16 to 128 safe characters and stands for no request id', () => {
    expect(parseIdentifier('pay_0123456789ab')).toBe('pay_0123456789ab')
    expect(requestIdOf('pay_0123456789ab')).toBeNull()
    expect(requestIdOf('0A'.repeat(32))).toBeNull()
    expect(parseIdentifier(null)).toBeNull()
    expect(parsePaymentIdentifier({ 'payment-identifier': advertisePaymentIdentifier() })).toBeNull()
    for (const wrong of ['short', 'x'.repeat(129), 'sixteen chars ok', 7, {}])
      expect(() => parseIdentifier(wrong)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
  })
})
