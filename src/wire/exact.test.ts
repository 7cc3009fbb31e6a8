import { TypedDataEncoder } from 'ethers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { openDigests } from './digests.ts'
import { encodeExactPayload, exactRequirements, parseExactPayload } from './exact.ts'
import { bytesToHex } from './hex.ts'
import { canonicalCollector, canonicalEscrow, type NetworkTerms } from './network.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(bytesToHex)
const uint256 = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n })
const authorization = fc.record({
  from: bytes(20),
  to: bytes(20),
  value: uint256,
  validAfter: uint256,
  validBefore: uint256,
  nonce: bytes(32),
})

test('a payload is the same after it was encoded and parsed', () => {
  fc.assert(
    fc.property(fc.record({ authorization, signature: bytes(65) }), (payload) => {
      expect(parseExactPayload(JSON.parse(JSON.stringify(encodeExactPayload(payload))))).toEqual(payload)
    }),
    { numRuns: 50 },
  )
})

test('whatever is no payload is refused as such', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(() => parseExactPayload(value)).toThrow(OpenSeedError)
      expect(() => parseExactPayload({ authorization: value, signature: '0x' })).toThrow(OpenSeedError)
    }),
    { numRuns: 100 },
  )
  expect(() => parseExactPayload({ permit2Authorization: {} })).toThrow(
    expect.objectContaining({ details: { reason: 'unsupported_payload_type' } }),
  )
})

test('the digest is the one that wallets sign', () => {
  const token = { name: 'USD Coin', version: '2', chainId: 8453, asset: canonicalEscrow }
  const domain = { name: 'USD Coin', version: '2', chainId: 8453, verifyingContract: canonicalEscrow }
  const words = 'address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce'
  const fields = words.split(',').map((field) => {
    const [type = '', name = ''] = field.split(' ')
    return { type, name }
  })
  const digests = openDigests({ chainId: 8453, escrow: canonicalEscrow })
  fc.assert(
    fc.property(authorization, (message) => {
      const oracle = TypedDataEncoder.hash(domain, { TransferWithAuthorization: fields }, message)
      expect(digests.transferAuthorization(token, message)).toBe(oracle)
    }),
    { numRuns: 25 },
  )
})

test('the advertised entry names the token as its domain does', () => {
  const network: NetworkTerms = {
    chainId: 84_532,
    caip2: 'eip155:84532',
    escrow: canonicalEscrow,
    collector: canonicalCollector,
    asset: '0x036cbd53842c5426634e7929541ec2318f3dcf7e',
    assetName: 'USDC',
    assetVersion: '2',
  }
  expect(exactRequirements(network, canonicalCollector, 62n, 600)).toEqual({
    scheme: 'exact',
    network: 'eip155:84532',
    amount: '62',
    asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
    payTo: '0x4020806089470a89826cB9fB1f4059150b550004',
    maxTimeoutSeconds: 600,
    extra: { name: 'USDC', version: '2', assetTransferMethod: 'eip3009' },
  })
})
