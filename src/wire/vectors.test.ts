import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parseChannelConfig } from './channel.ts'
import { nativeCurve, pureCurve } from './curve.ts'
import { openDigests } from './digests.ts'
import { asAddress, type Address, type Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'
import type { Offer } from './offer.ts'
import type { Receipt } from './receipt.ts'
import type { PaidRequest } from './request.ts'

interface Domain {
  name: string
  version: string
  chainId: number
  verifyingContract: string
}
/** Decimal strings and hex; a claim batch has rows. */
type Message = Record<string, string> & { claims?: Record<string, string>[] }
interface VectorCase {
  type: string
  domain: Domain
  message: Message
  digest: Hex
  signer: string
  signature: Hex
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../test/vectors/${name}.json`, import.meta.url), 'utf8'))
const conformance = read('batch-settlement')
const { types } = read('openseed-types') as { types: Record<string, { encodeType: string; typehash: Hex }> }
const files = ['openseed-types', 'signed-by-typescript', 'signed-by-forge']
const hex = (text: string | undefined) => (text ?? '').toLowerCase() as Hex
const curves = [nativeCurve(), pureCurve()]

/** Our digest of a vector's message; null for the token's types that nothing here signs. */
function digestOf({ type, domain, message }: VectorCase): Hex | null {
  const digests = openDigests({ chainId: domain.chainId, escrow: hex(domain.verifyingContract) })
  // Vectors reach the last uint64, which is past what a number holds: digests take integers of either kind.
  const { claims = [], ...fields } = message
  const lowered = Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, /^[0-9]+$/.test(value) ? BigInt(value) : hex(value)]),
  ) as Record<string, unknown>
  const channelId = hex(message['channelId'])
  switch (type) {
    case 'ChannelConfig':
      return digests.channelId(
        parseChannelConfig({ ...message, withdrawDelay: Number(message['withdrawDelay']) }),
      )
    case 'Voucher':
      return digests.voucher(channelId, BigInt(message['maxClaimableAmount']!))
    case 'Refund':
      return digests.refund(channelId, BigInt(message['nonce']!), BigInt(message['amount']!))
    case 'ClaimBatch':
      return digests.claimBatch(
        claims.map((row) => ({
          channelId: hex(row['channelId']),
          maxClaimable: BigInt(row['maxClaimableAmount']!),
          totalClaimed: BigInt(row['totalClaimed']!),
        })),
      )
    case 'Offer':
      return digests.offer({ ...lowered, validUntilSec: lowered['validUntil'] } as unknown as Offer)
    case 'Request':
      return digests.request({ ...lowered, admitBySec: lowered['admitBy'] } as unknown as PaidRequest)
    case 'Receipt':
      return digests.receipt({ ...lowered, completedAtSec: lowered['completedAt'] } as unknown as Receipt)
    case 'ReceiveWithAuthorization': {
      const asset: Address = hex(domain.verifyingContract)
      return digests.receiveAuthorization(
        { name: domain.name, version: domain.version, chainId: domain.chainId, asset },
        lowered as unknown as Parameters<typeof digests.receiveAuthorization>[1],
      )
    }
    default:
      return null
  }
}

describe('the conformance vector of batch-settlement', () => {
  const { domain, config, channelId, voucher, refund, claimBatch, deposit } = conformance
  const digests = openDigests({ chainId: domain.chainId, escrow: hex(domain.verifyingContract) })

  test('channel id and digests come out alike', () => {
    const parsed = parseChannelConfig({ ...config, withdrawDelay: Number(config.withdrawDelay) })
    expect(digests.channelId(parsed)).toBe(channelId)
    expect(digests.voucher(channelId, 1000n)).toBe(voucher.digest)
    expect(digests.refund(channelId, 0n, 500n)).toBe(refund.digest)
    expect(digests.claimBatch([{ channelId, maxClaimable: 1000n, totalClaimed: 700n }])).toBe(
      claimBatch.digest,
    )
    const salt = BigInt(deposit.salt).toString(16).padStart(64, '0')
    expect(digests.depositNonce(channelId, `0x${salt}`)).toBe(deposit.nonce)
  })

  test('the voucher is recovered by both curves', () => {
    for (const curve of curves)
      expect(curve.recover(voucher.digest, voucher.signature)).toBe(asAddress(voucher.signer))
  })
})

test('every typehash is the hash of its type string', () => {
  for (const { encodeType, typehash } of Object.values(types)) expect(keccak256(encodeType)).toBe(typehash)
})

describe.each(files)('the signed messages of %s', (file) => {
  const cases = read(file).cases as VectorCase[]

  test('have the digests that we compute', () => {
    const ours = cases.filter((vector) => digestOf(vector) !== null)
    expect(ours.map((vector) => [vector.type, digestOf(vector)])).toEqual(
      ours.map(({ type, digest }) => [type, digest]),
    )
    expect(new Set(ours.map(({ type }) => type)).size).toBe(8)
  })

  test('are by their signers, say both curves', () => {
    for (const curve of curves)
      expect(cases.map(({ type, digest, signature }) => [type, curve.recover(digest, signature)])).toEqual(
        cases.map(({ type, signer }) => [type, asAddress(signer)]),
      )
  })
})
