import { computeChannelId } from '@x402/evm/batch-settlement/client'
import { keccak256 as hashBytes, TypedDataEncoder, type TypedDataField } from 'ethers'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeChannelConfig } from './channel.ts'
import { openDigests } from './digests.ts'
import { bytesToHex } from './hex.ts'
import { canonicalEscrow } from './network.ts'

const chainId = 84_532
const digests = openDigests({ chainId, escrow: canonicalEscrow })
const batchDomain = {
  name: 'x402 Batch Settlement',
  version: '1',
  chainId,
  verifyingContract: canonicalEscrow,
}
const ownDomain = { ...batchDomain, name: 'OpenSeed' }

// From "type name,type name" to the form ethers wants.
const fieldsOf = (text: string): TypedDataField[] =>
  text.split(',').map((field) => {
    const [type, name] = field.split(' ') as [string, string]
    return { type, name }
  })
const oracle = (domain: object, types: Record<string, string>, message: object) =>
  TypedDataEncoder.hash(
    domain,
    Object.fromEntries(Object.entries(types).map(([name, text]) => [name, fieldsOf(text)])),
    message,
  )

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytesToHex)
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(bytesToHex)
const uint128 = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n })
const uint40 = fc.integer({ min: 0, max: 2 ** 40 - 1 })
const safe = fc.maxSafeNat()
const numRuns = { numRuns: 25 }

describe('digests agree with ethers on random messages', () => {
  test('channel ids, which @x402/evm computes alike', () => {
    const config = fc.record({
      payer: address,
      payerAuthorizer: address,
      receiver: address,
      receiverAuthorizer: address,
      token: address,
      withdrawDelay: uint40,
      salt: bytes32,
    })
    const ChannelConfig =
      'address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt'
    fc.assert(
      fc.property(config, (config) => {
        const stock = encodeChannelConfig(config) as unknown as Parameters<typeof computeChannelId>[0]
        expect(digests.channelId(config)).toBe(oracle(batchDomain, { ChannelConfig }, config))
        expect(digests.channelId(config)).toBe(computeChannelId(stock, chainId))
      }),
      numRuns,
    )
  })

  test('vouchers and refunds', () => {
    fc.assert(
      fc.property(
        bytes32,
        uint128,
        fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
        (channelId, amount, nonce) => {
          const Voucher = 'bytes32 channelId,uint128 maxClaimableAmount'
          const Refund = 'bytes32 channelId,uint256 nonce,uint128 amount'
          expect(digests.voucher(channelId, amount)).toBe(
            oracle(batchDomain, { Voucher }, { channelId, maxClaimableAmount: amount }),
          )
          expect(digests.refund(channelId, nonce, amount)).toBe(
            oracle(batchDomain, { Refund }, { channelId, nonce, amount }),
          )
        },
      ),
      numRuns,
    )
  })

  test('claim batches of any length', () => {
    const rows = fc.array(fc.record({ channelId: bytes32, maxClaimable: uint128, totalClaimed: uint128 }), {
      maxLength: 5,
    })
    fc.assert(
      fc.property(rows, (rows) => {
        const claims = rows.map(({ maxClaimable, ...row }) => ({ ...row, maxClaimableAmount: maxClaimable }))
        const ClaimEntry = 'bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed'
        expect(digests.claimBatch(rows)).toBe(
          oracle(batchDomain, { ClaimBatch: 'ClaimEntry[] claims', ClaimEntry }, { claims }),
        )
      }),
      numRuns,
    )
  })

  test('offers', () => {
    const offer = fc.record({
      modelHash: bytes32,
      payTo: address,
      priceIn: uint128,
      priceCached: uint128,
      priceOut: uint128,
      fixedPrice: uint128,
      maxContext: safe,
      maxOutput: safe,
      validUntilSec: uint40,
      detailsHash: bytes32,
    })
    const Offer =
      'bytes32 modelHash,address payTo,uint128 priceIn,uint128 priceCached,uint128 priceOut,uint128 fixedPrice,uint64 maxContext,uint64 maxOutput,uint40 validUntil,bytes32 detailsHash'
    fc.assert(
      fc.property(offer, (offer) => {
        expect(digests.offer(offer)).toBe(
          oracle(ownDomain, { Offer }, { ...offer, validUntil: offer.validUntilSec }),
        )
      }),
      numRuns,
    )
  })

  test('requests', () => {
    const request = fc.record({
      channelId: bytes32,
      requestId: bytes32,
      bodyHash: bytes32,
      offerHash: bytes32,
      ceiling: uint128,
      admitBySec: uint40,
    })
    const Request =
      'bytes32 channelId,bytes32 requestId,bytes32 bodyHash,bytes32 offerHash,uint128 ceiling,uint40 admitBy'
    fc.assert(
      fc.property(request, (request) => {
        expect(digests.request(request)).toBe(
          oracle(ownDomain, { Request }, { ...request, admitBy: request.admitBySec }),
        )
      }),
      numRuns,
    )
  })

  test('receipts', () => {
    const receipt = fc.record({
      channelId: bytes32,
      requestId: bytes32,
      offerHash: bytes32,
      responseHash: bytes32,
      inputTokens: safe,
      cachedTokens: safe,
      outputTokens: safe,
      charged: uint128,
      cumulative: uint128,
      completedAtSec: uint40,
    })
    const Receipt =
      'bytes32 channelId,bytes32 requestId,bytes32 offerHash,bytes32 responseHash,uint64 inputTokens,uint64 cachedTokens,uint64 outputTokens,uint128 charged,uint128 cumulative,uint40 completedAt'
    fc.assert(
      fc.property(receipt, (receipt) => {
        expect(digests.receipt(receipt)).toBe(
          oracle(ownDomain, { Receipt }, { ...receipt, completedAt: receipt.completedAtSec }),
        )
      }),
      numRuns,
    )
  })

  test('status questions, whose ids are hashed in a row', () => {
    const query = fc.record({
      channelId: bytes32,
      ids: fc.array(bytes32, { maxLength: 4 }),
      askedAtSec: uint40,
    })
    const Status = 'bytes32 channelId,bytes32 idsHash,uint40 askedAt'
    fc.assert(
      fc.property(query, (query) => {
        const idsHash = hashBytes(`0x${query.ids.map((id) => id.slice(2)).join('')}`)
        expect(digests.status(query)).toBe(
          oracle(ownDomain, { Status }, { channelId: query.channelId, idsHash, askedAt: query.askedAtSec }),
        )
      }),
      numRuns,
    )
  })

  test('deposit authorizations of any token', () => {
    const message = fc.record({
      from: address,
      to: address,
      value: uint128,
      validAfter: safe,
      validBefore: safe,
      nonce: bytes32,
    })
    const ReceiveWithAuthorization =
      'address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce'
    fc.assert(
      fc.property(message, address, fc.string(), (message, asset, name) => {
        const domain = { name, version: '2', chainId, verifyingContract: asset }
        expect(digests.receiveAuthorization({ name, version: '2', chainId, asset }, message)).toBe(
          oracle(domain, { ReceiveWithAuthorization }, message),
        )
      }),
      numRuns,
    )
  })
})

test('a digest is bound to its chain and its escrow', () => {
  const id = `0x${'11'.repeat(32)}` as const
  const foreign = [
    openDigests({ chainId: 8453, escrow: canonicalEscrow }),
    openDigests({ chainId, escrow: `0x${'22'.repeat(20)}` }),
  ]
  for (const other of foreign) expect(other.voucher(id, 1n)).not.toBe(digests.voucher(id, 1n))
})
