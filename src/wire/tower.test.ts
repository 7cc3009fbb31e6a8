import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasCode } from '../base/errors.ts'
import type { Hex } from './hex.ts'
import { nodeKeyOf } from './node-key.ts'
import {
  encodePairRequest,
  isAskSigned,
  isPairRequestSigned,
  normalCode,
  pairingCode,
  parsePairRequest,
  parseTowerAuthorization,
  towerAuthorization,
} from './tower-auth.ts'
import {
  encodeTowerPage,
  encodeTowerPairing,
  mostPageBytes,
  mostUpdates,
  parseTowerPage,
  parseTowerPairing,
} from './tower.ts'

const key = nodeKeyOf(Buffer.alloc(32, 3))
const of = (digit: string, bytes: number): Hex => `0x${digit.repeat(bytes * 2)}`
const pairing = {
  network: 'eip155:31337',
  escrow: of('4', 20),
  asset: of('5', 20),
  payTo: of('a', 20),
  receiverAuthorizer: of('b', 20),
}
const update = {
  config: {
    payer: of('1', 20),
    payerAuthorizer: of('2', 20),
    receiver: of('a', 20),
    receiverAuthorizer: of('b', 20),
    token: of('5', 20),
    withdrawDelay: 2_592_000,
    salt: of('f', 32),
  },
  maxClaimable: 2n ** 63n - 1n,
  voucher: of('c', 65),
  totalClaimed: 2n ** 63n - 1n,
  claim: of('d', 65),
}

test('what is told comes out as it went in, and a full page is within its limit', () => {
  const page = { updates: Array.from({ length: mostUpdates }, () => update), cursor: 'a1b2.99', more: true }
  const text = JSON.stringify(encodeTowerPage(page))
  expect(text.length).toBeLessThan(mostPageBytes)
  expect(parseTowerPage(JSON.parse(text))).toEqual(page)
  expect(parseTowerPairing(JSON.parse(JSON.stringify(encodeTowerPairing(pairing))))).toEqual(pairing)
})

test('a code has 98 bits, and is read however people type it', () => {
  const code = pairingCode(randomBytes(32))
  expect(code).toMatch(/^(?:[2-9A-HJKMNP-TV-Z]{4}-){4}[2-9A-HJKMNP-TV-Z]{4}$/)
  expect(normalCode(` ${code.toLowerCase().replaceAll('-', ' ')}`)).toBe(code.replaceAll('-', ''))
  expect(pairingCode(Buffer.alloc(32))).not.toBe(pairingCode(Buffer.alloc(32, 255)))
})

test('a pairing is good for the code and the key that signed it', () => {
  const code = normalCode(pairingCode(randomBytes(32)))
  const asked = parsePairRequest(encodePairRequest(key, code, 'attic'))
  expect(asked).toMatchObject({ code, peer: key.peerId, name: 'attic' })
  expect(isPairRequestSigned(asked)).toBe(true)
  expect(isPairRequestSigned({ ...asked, name: 'cellar' })).toBe(false)
  const another = normalCode(pairingCode(randomBytes(32)))
  expect(isPairRequestSigned({ ...asked, code: another })).toBe(false)
  expect(isPairRequestSigned({ ...asked, peer: nodeKeyOf(Buffer.alloc(32, 4)).peerId })).toBe(false)
})

test('a question is good for its seller, moment and cursor', () => {
  const header = towerAuthorization(key, pairing, { atMs: 1_700_000_000_000, since: 'a.1' })
  const { peer, atMs, signature } = parseTowerAuthorization(header)
  const ask = { peer, atMs, since: 'a.1' }
  expect(ask).toEqual({ peer: key.peerId, atMs: 1_700_000_000_000, since: 'a.1' })
  expect(isAskSigned(pairing, ask, signature)).toBe(true)
  expect(isAskSigned(pairing, { ...ask, since: '' }, signature)).toBe(false)
  expect(isAskSigned(pairing, { ...ask, atMs: atMs + 1 }, signature)).toBe(false)
  const other = { ...pairing, receiverAuthorizer: of('e', 20) }
  expect(isAskSigned(other, ask, signature)).toBe(false)
})

test('whatever comes is parsed or refused as a malformed message', () => {
  const anything = fc.oneof(fc.jsonValue(), fc.object(), fc.string())
  const parsers = [parseTowerPage, parseTowerPairing, parsePairRequest, parseTowerAuthorization, normalCode]
  fc.assert(
    fc.property(anything, fc.constantFrom(...parsers), (input, parse: (input: unknown) => unknown) => {
      try {
        parse(input)
      } catch (error) {
        expect(hasCode(error, 'invalid_message')).toBe(true)
      }
    }),
  )
  const [entry] = encodeTowerPage({ updates: [update], cursor: 'a', more: false })['updates'] as object[]
  const broken = [
    { voucher: '0x11' },
    { totalClaimed: 5 },
    { maxClaimable: '-1' },
    { config: null },
    { claim: null },
  ]
  for (const change of broken)
    expect(() => parseTowerPage({ updates: [{ ...entry, ...change }], cursor: 'a' })).toThrow()
  expect(() => parseTowerPage({ updates: Array(mostUpdates + 1).fill(entry), cursor: 'a' })).toThrow()
  expect(() => parseTowerPage({ updates: [], cursor: 'a b' })).toThrow()
})
