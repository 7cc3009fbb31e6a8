import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { encodeV1Payment, parseV1Required } from './exact-v1.ts'

const entry = {
  scheme: 'exact',
  network: 'base-sepolia',
  maxAmountRequired: '1000',
  resource: 'https://seller.test/v1/chat/completions',
  description: '',
  mimeType: 'application/json',
  payTo: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC',
  maxTimeoutSeconds: 60,
  asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
  extra: { name: 'USDC', version: '2' },
}
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))

test('terms of version 1 are read as those of version 2', () => {
  const solana = { ...entry, network: 'solana' }
  expect(parseV1Required(bytes({ x402Version: 1, error: 'pay', accepts: [solana, entry] }))).toEqual({
    x402Version: 2,
    error: 'pay',
    resource: { url: entry.resource },
    accepts: [
      {
        scheme: 'exact',
        network: 'eip155:84532',
        amount: '1000',
        asset: entry.asset,
        payTo: entry.payTo,
        maxTimeoutSeconds: 60,
        extra: entry.extra,
      },
    ],
  })
})

test('whatever has another version or form is refused', () => {
  expect(() => parseV1Required(bytes({ x402Version: 2, accepts: [entry] }))).toThrow(OpenSeedError)
  expect(() => parseV1Required(bytes({ x402Version: 1, accepts: [] }))).toThrow(OpenSeedError)
  expect(() => parseV1Required(Buffer.from('pay me at 0x00'))).toThrow(OpenSeedError)
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(() => parseV1Required(bytes(value))).toThrow(OpenSeedError)
      expect(() => parseV1Required(bytes({ x402Version: 1, accepts: [value] }))).toThrow(OpenSeedError)
    }),
    { numRuns: 100 },
  )
})

test('a payment names its network as version 1 did', () => {
  const authorization = {
    from: '0x70997970c51812dc3a010c7d01b50e0d17dc79c8',
    to: '0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc',
    value: 1000n,
    validAfter: 0n,
    validBefore: 99n,
    nonce: `0x${'1'.repeat(64)}`,
  } as const
  const header = encodeV1Payment('eip155:84532', { authorization, signature: '0x12' })
  expect(JSON.parse(Buffer.from(header, 'base64').toString())).toMatchObject({
    x402Version: 1,
    scheme: 'exact',
    network: 'base-sepolia',
    payload: { signature: '0x12', authorization: { value: '1000', validBefore: '99' } },
  })
  expect(() => encodeV1Payment('eip155:1', { authorization, signature: '0x12' })).toThrow(OpenSeedError)
})
