import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { curve } from './curve.ts'
import { openDigests } from './digests.ts'
import { encodeEvidence, parseEvidence, type Evidence } from './evidence.ts'
import type { Hex } from './hex.ts'
import { judgeEvidence } from './judge-evidence.ts'
import { canonicalEscrow } from './network.ts'
import { signOffer } from './offer.ts'
import { chargeFor } from './price.ts'
import { signReceipt, type Receipt } from './receipt.ts'
import { signRequest } from './request.ts'

const buyerKey: Hex = `0x${'b1'.repeat(32)}`
const sellerKey: Hex = `0x${'5e'.repeat(32)}`
const strangerKey: Hex = `0x${'0f'.repeat(32)}`
const word = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`
const chain = { chainId: 31_337, escrow: canonicalEscrow }
const digests = openDigests(chain)
const config = {
  payer: curve.addressOf(buyerKey),
  payerAuthorizer: curve.addressOf(buyerKey),
  receiver: `0x${'0b'.repeat(20)}` as const,
  receiverAuthorizer: curve.addressOf(sellerKey),
  token: `0x${'03'.repeat(20)}` as const,
  withdrawDelay: 86_400,
  salt: word(7),
}
const channelId = digests.channelId(config)
const terms = {
  payTo: config.receiver,
  priceIn: 150_000n,
  priceCached: 75_000n,
  priceOut: 600_000n,
  fixedPrice: 3n,
  maxContext: 131_072,
  maxOutput: 8192,
  validUntilSec: 2_000_000_000,
}
const details = { model: 'm', min: 1n, defOut: 2048, img: 4096, maxN: 4, engine: 'vllm', quantization: 'fp8' }
const offer = signOffer(digests, curve, sellerKey, terms, details)
const ceiling = 1_000_000n

interface Asked {
  inputTokens: number
  cachedTokens: number
  outputTokens: number
}

/** What an honest pair leaves behind. */
function history(asked: readonly Asked[]): Evidence {
  let cumulative = 0n
  const receipts = asked.map((usage, at) => {
    const charged = chargeFor(usage, offer.offer, details.min, ceiling)
    cumulative += charged
    const requestId = word(at + 1)
    const signed = { bodyHash: word(500 + at), offerHash: offer.hash, ceiling, admitBySec: 1_900_000_000 }
    const request = {
      ...signed,
      signature: signRequest(digests, curve, buyerKey, { channelId, requestId, ...signed }),
    }
    const receipt: Receipt = {
      channelId,
      requestId,
      offerHash: offer.hash,
      responseHash: word(900 + at),
      charged,
      cumulative,
      completedAtSec: 1_900_000_000 + at,
      ...usage,
    }
    return {
      signed: signReceipt(digests, curve, sellerKey, receipt),
      request,
      seller: 'https://s',
      disputed: null,
    }
  })
  return { ...chain, channels: [config], offers: [offer], receipts }
}

const usages = fc.array(
  fc
    .record({ inputTokens: fc.nat(5000), outputTokens: fc.nat(3000), share: fc.nat(100) })
    .map(({ share, ...usage }) => ({
      ...usage,
      cachedTokens: Math.floor((usage.inputTokens * share) / 100),
    })),
  { minLength: 1, maxLength: 6 },
)
const three = () =>
  history([40, 70, 0].map((inputTokens) => ({ inputTokens, cachedTokens: 0, outputTokens: inputTokens })))

const kinds = (evidence: Evidence) => judgeEvidence(evidence, curve).receipts.map(({ kind }) => kind)
const faults = (evidence: Evidence) => judgeEvidence(evidence, curve).receipts.map((row) => row.faults)

test('an honest history is valid, also after a trip through JSON and in any order', () => {
  fc.assert(
    fc.property(usages, fc.boolean(), (asked, reversed) => {
      const evidence = history(asked)
      if (reversed) evidence.receipts.reverse()
      const read = parseEvidence(JSON.parse(JSON.stringify(encodeEvidence(evidence))))
      expect(read).toEqual(evidence)
      const verdict = judgeEvidence(read, curve)
      expect(verdict.receipts.every(({ kind }) => kind === 'valid')).toBe(true)
      const charged = evidence.receipts.reduce((sum, { signed }) => sum + signed.receipt.charged, 0n)
      expect(verdict.channels).toEqual([
        { channelId, config, receipts: asked.length, charged, cumulative: charged, missing: 0n },
      ])
    }),
    { numRuns: 25 },
  )
})

test('a part of a history is valid, and what is missing is named', () => {
  const evidence = three()
  const [first] = evidence.receipts.splice(0, 1)
  const verdict = judgeEvidence(evidence, curve)
  expect(verdict.receipts.map(({ kind }) => kind)).toEqual(['valid', 'valid'])
  expect(verdict.channels[0]!.missing).toBe(first!.signed.receipt.charged)
})

test('a change of any signed value is seen', () => {
  const text = JSON.stringify(encodeEvidence(three()))
  const tree = () => JSON.parse(text) as Record<string, never>
  const leaves: string[][] = []
  const walk = (value: unknown, path: string[]): void => {
    if (typeof value === 'object' && value !== null)
      for (const [name, part] of Object.entries(value)) walk(part, [...path, name])
    else leaves.push(path)
  }
  walk(tree(), [])
  const unsigned = new Set(['openseed', 'seller', 'disputed'])
  const signed = leaves.filter((path) => !unsigned.has(path.at(-1)!))
  // The hash of an offer that nobody names any more is a missing offer.
  expect(signed.length).toBeGreaterThan(60)
  for (const path of signed) {
    const changed = tree()
    const holder = path
      .slice(0, -1)
      .reduce<Record<string, unknown>>((at, name) => at[name] as Record<string, unknown>, changed)
    holder[path.at(-1)!] = other(holder[path.at(-1)!])
    let seen: string[]
    try {
      seen = kinds(parseEvidence(changed))
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'invalid_message' })
      continue
    }
    expect([path.join('.'), seen]).toEqual([path.join('.'), expect.arrayContaining(['forged'])])
  }
})

function other(value: unknown): unknown {
  if (typeof value === 'number') return value + 1
  const text = String(value)
  if (text.startsWith('eip155')) return `${text}1`
  if (/^[0-9]+$/.test(text)) return (BigInt(text) + 1n).toString()
  return text.replace(/.$/, (last) => (last === '1' ? '2' : '1'))
}

describe('what is left out or put in', () => {
  test('a channel or an offer that is not there', () => {
    expect(faults({ ...three(), channels: [] })[0]).toEqual(['channel_unknown'])
    expect(faults({ ...three(), offers: [] })[0]).toEqual(['offer_unknown'])
  })

  test('the same receipt twice', () => {
    const evidence = three()
    evidence.receipts.push(evidence.receipts[0]!)
    expect(faults(evidence)).toEqual([[], [], [], ['receipt_repeated']])
  })

  test('an offer, a request or a receipt by somebody else', () => {
    const foreign = { ...three(), offers: [signOffer(digests, curve, strangerKey, terms, details)] }
    expect(faults(foreign)[0]).toEqual(['offer_forged'])
    const [row] = three().receipts
    const asked = { channelId, requestId: row!.signed.receipt.requestId, ...row!.request! }
    const request = { ...row!.request!, signature: signRequest(digests, curve, strangerKey, asked) }
    expect(faults({ ...three(), receipts: [{ ...row!, request }] })).toEqual([['request_forged']])
    const signed = signReceipt(digests, curve, strangerKey, row!.signed.receipt)
    expect(faults({ ...three(), receipts: [{ ...row!, signed }] })).toEqual([['receipt_forged']])
  })

  test('an offer that pays somebody else', () => {
    const astray = signOffer(digests, curve, sellerKey, { ...terms, payTo: config.token }, details)
    const evidence = three()
    const [row] = evidence.receipts
    const signed = signReceipt(digests, curve, sellerKey, { ...row!.signed.receipt, offerHash: astray.hash })
    const receipts = [{ ...row!, request: null, signed }]
    expect(faults({ ...evidence, offers: [astray], receipts })).toEqual([['offer_other_payee']])
  })
})

describe('a seller whose own signature contradicts', () => {
  const lie = (change: Partial<Receipt>, more: Partial<Evidence> = {}) => {
    const evidence = three()
    const row = evidence.receipts[1]!
    row.signed = signReceipt(digests, curve, sellerKey, { ...row.signed.receipt, ...change })
    return judgeEvidence({ ...evidence, ...more }, curve).receipts[1]!
  }
  const { charged, cumulative } = three().receipts[1]!.signed.receipt

  test('its price', () => {
    const verdict = lie({ charged: charged + 1n, cumulative: cumulative + 1n })
    expect(verdict).toMatchObject({ kind: 'contradicts', faults: ['over_price'] })
  })

  test('what was agreed', () => {
    const verdict = lie({ charged: ceiling + 1n, cumulative: cumulative + ceiling })
    expect(verdict.faults).toEqual(expect.arrayContaining(['over_ceiling', 'over_price']))
  })

  test('the offer that was asked for', () => {
    const dearer = signOffer(digests, curve, sellerKey, { ...terms, priceOut: 900_000n }, details)
    const verdict = lie({ offerHash: dearer.hash }, { offers: [offer, dearer] })
    expect(verdict).toMatchObject({ kind: 'contradicts', faults: ['other_offer'] })
    // Nobody can be made to produce the dearer one.
    expect(lie({ offerHash: dearer.hash })).toEqual(verdict)
  })

  test('its own counts and sums', () => {
    expect(lie({ cachedTokens: 71 }).faults).toContain('cached_implausible')
    expect(lie({ cumulative: charged - 1n }).faults).toContain('cumulative_implausible')
    expect(lie({ cumulative: cumulative - 1n })).toMatchObject({
      kind: 'contradicts',
      faults: ['cumulative_overlap'],
    })
  })

  test('an earlier receipt for the same request', () => {
    const evidence = three()
    const row = evidence.receipts[0]!
    const later = { ...row.signed.receipt, cumulative: row.signed.receipt.cumulative + 1000n }
    evidence.receipts.push({ ...row, signed: signReceipt(digests, curve, sellerKey, later) })
    expect(judgeEvidence(evidence, curve).receipts[3]).toMatchObject({
      kind: 'contradicts',
      faults: ['two_receipts'],
    })
  })
})

test('a charge below the price is valid, and so is one for a stock client, who signs no request', () => {
  const evidence = three()
  const row = evidence.receipts[0]!
  row.request = null
  row.signed = signReceipt(digests, curve, sellerKey, { ...row.signed.receipt, charged: 1n })
  expect(kinds(evidence)).toEqual(['valid', 'valid', 'valid'])
})

test('text that is no evidence is refused as malformed', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(() => parseEvidence(value)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
    }),
    { numRuns: 50 },
  )
})
