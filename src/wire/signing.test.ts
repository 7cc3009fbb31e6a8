/** Offers, requests, receipts and status questions: signed by one key, and worthless after any change. */
import { describe, expect, test } from 'vitest'
import { canonicalJson } from './canonical-json.ts'
import { channelSalt, sameConfig, type ChannelConfig } from './channel.ts'
import { curve } from './curve.ts'
import { openDigests } from './digests.ts'
import type { Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'
import { canonicalEscrow, caip2Of } from './network.ts'
import { detailsHash, encodeSignedOffer, parseSignedOffer, signOffer, verifyOffer } from './offer.ts'
import { signReceipt, verifyReceipt } from './receipt.ts'
import { signRequest, verifyRequest } from './request.ts'
import { signStatusQuery, verifyStatusQuery } from './status.ts'

const hex = (byte: string, bytes = 32): Hex => `0x${byte.repeat(bytes)}`
const key = hex('11')
const signer = curve.addressOf(key)
const stranger = curve.addressOf(hex('22'))
const digests = openDigests({ chainId: 31_337, escrow: canonicalEscrow })
const otherChain = openDigests({ chainId: 8453, escrow: canonicalEscrow })

/** Each field in turn with another value of its kind. */
function changes<Value extends object>(value: Value): Value[] {
  return Object.entries(value).map(([name, old]) => {
    if (typeof old === 'bigint') return { ...value, [name]: old + 1n }
    if (typeof old === 'number') return { ...value, [name]: old + 1 }
    if (Array.isArray(old)) return { ...value, [name]: old.slice(1) }
    return { ...value, [name]: `0x${'99'.repeat((String(old).length - 2) / 2)}` }
  })
}

describe('an offer', () => {
  const details = { model: 'm', min: 1n, defOut: 2048, img: 4096, maxN: 4, engine: 'vllm' }
  const offer = {
    payTo: hex('33', 20),
    priceIn: 150_000n,
    priceCached: 15_000n,
    priceOut: 600_000n,
    fixedPrice: 0n,
    maxContext: 131_072,
    maxOutput: 8192,
    validUntilSec: 1_800_000_000,
  }
  const signed = signOffer(digests, curve, key, offer, details)

  test('is verified for its signer, chain and escrow only', () => {
    expect(verifyOffer(digests, curve, signed, signer)).toBe(true)
    expect(verifyOffer(digests, curve, signed, stranger)).toBe(false)
    expect(verifyOffer(otherChain, curve, signed, signer)).toBe(false)
  })

  test('is worthless after any change of its fields, details, hash or signature', () => {
    for (const offer of changes(signed.offer))
      expect(verifyOffer(digests, curve, { ...signed, offer }, signer)).toBe(false)
    for (const change of [
      { model: 'n' },
      { min: 2n },
      { defOut: 1 },
      { img: 1 },
      { maxN: 1 },
      { engine: 'x' },
      { rest: { a: 1 } },
    ])
      expect(verifyOffer(digests, curve, { ...signed, details: { ...details, ...change } }, signer)).toBe(
        false,
      )
    expect(verifyOffer(digests, curve, { ...signed, hash: hex('99') }, signer)).toBe(false)
    expect(verifyOffer(digests, curve, { ...signed, signature: hex('99', 65) }, signer)).toBe(false)
  })

  test('with descriptive details that this version does not know still verifies after transport', () => {
    const future = signOffer(digests, curve, key, offer, {
      ...details,
      rest: { vision: true, licence: 'MIT', layers: 80 },
    })
    const received = parseSignedOffer(JSON.parse(JSON.stringify(encodeSignedOffer(future))))
    expect(received).toEqual(future)
    expect(verifyOffer(digests, curve, received, signer)).toBe(true)
  })

  test('details are hashed as JSON with sorted keys, no spaces and amounts as strings', () => {
    expect(detailsHash(details)).toBe(
      keccak256('{"defOut":2048,"engine":"vllm","img":4096,"maxN":4,"min":"1","model":"m"}'),
    )
    expect(canonicalJson({ b: 1, a: 'ü"', B: true })).toBe('{"B":true,"a":"ü\\"","b":1}')
  })
})

describe('a request', () => {
  const request = {
    channelId: hex('01'),
    requestId: hex('02'),
    bodyHash: hex('03'),
    offerHash: hex('04'),
    ceiling: 1300n,
    admitBySec: 1_800_000_000,
  }
  const signature = signRequest(digests, curve, key, request)

  test('is verified for its signer only and worthless after any change', () => {
    expect(verifyRequest(digests, curve, request, signature, signer)).toBe(true)
    expect(verifyRequest(digests, curve, request, signature, stranger)).toBe(false)
    expect(verifyRequest(otherChain, curve, request, signature, signer)).toBe(false)
    for (const changed of changes(request))
      expect(verifyRequest(digests, curve, changed, signature, signer)).toBe(false)
  })
})

describe('a receipt', () => {
  const receipt = {
    channelId: hex('01'),
    requestId: hex('02'),
    offerHash: hex('03'),
    responseHash: hex('04'),
    inputTokens: 10,
    cachedTokens: 2,
    outputTokens: 20,
    charged: 700n,
    cumulative: 1700n,
    completedAtSec: 1_800_000_000,
  }
  const signed = signReceipt(digests, curve, key, receipt)

  test('is verified for its signer only and worthless after any change', () => {
    expect(verifyReceipt(digests, curve, signed, signer)).toBe(true)
    expect(verifyReceipt(digests, curve, signed, stranger)).toBe(false)
    for (const changed of changes(receipt))
      expect(verifyReceipt(digests, curve, { ...signed, receipt: changed }, signer)).toBe(false)
  })
})

describe('a status question', () => {
  const query = { channelId: hex('01'), ids: [hex('02'), hex('03')], askedAtSec: 1_800_000_000 }
  const signed = signStatusQuery(digests, curve, key, query)

  test('is verified for its signer only and worthless after any change', () => {
    expect(verifyStatusQuery(digests, curve, signed, signer)).toBe(true)
    expect(verifyStatusQuery(digests, curve, signed, stranger)).toBe(false)
    for (const changed of [...changes(query), { ...query, ids: query.ids.toReversed() }])
      expect(verifyStatusQuery(digests, curve, { ...signed, ...changed }, signer)).toBe(false)
  })
})

describe('channels', () => {
  const config: ChannelConfig = {
    payer: hex('01', 20),
    payerAuthorizer: hex('02', 20),
    receiver: hex('03', 20),
    receiverAuthorizer: hex('04', 20),
    token: hex('05', 20),
    withdrawDelay: 86_400,
    salt: hex('06'),
  }

  test('are the same when every field is, and change their id with any', () => {
    expect(sameConfig(config, { ...config })).toBe(true)
    for (const changed of changes(config)) {
      expect(sameConfig(config, changed)).toBe(false)
      expect(digests.channelId(changed)).not.toBe(digests.channelId(config))
    }
  })

  test('have salts of their own per key and index, found again from both', () => {
    const salts = [
      channelSalt(key, 0),
      channelSalt(key, 1),
      channelSalt(key, 2 ** 40),
      channelSalt(hex('22'), 0),
    ]
    expect(new Set(salts).size).toBe(4)
    expect(channelSalt(key, 1)).toBe(salts[1])
    const preimage = Buffer.concat([
      Buffer.from('openseed channel salt v1'),
      Buffer.alloc(32, 0x11),
      Buffer.alloc(31),
      Buffer.of(1),
    ])
    expect(channelSalt(key, 1)).toBe(keccak256(preimage))
  })

  test('live on chains with CAIP-2 names', () => {
    expect(caip2Of(8453)).toBe('eip155:8453')
  })
})
