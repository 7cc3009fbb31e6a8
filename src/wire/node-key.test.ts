import { expect, test } from 'vitest'
import { bytesToHex, hexToBytes } from './hex.ts'
import { nodeKeyOf, verifyBy } from './node-key.ts'
import { peerIdOf } from './peer-id.ts'

const key = nodeKeyOf(new Uint8Array(32).fill(1))
const message = Buffer.from('what was said')

test('a seed signs as RFC 8032 says', () => {
  const first = nodeKeyOf(hexToBytes('0x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'))
  expect(bytesToHex(first.sign(new Uint8Array()))).toBe(
    '0xe5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  )
})

test('a signature is checked by the peer id alone', () => {
  expect(verifyBy(key.peerId, message, key.sign(message))).toBe(true)
  expect(verifyBy(key.peerId, message, key.sign(message))).toBe(true)
})

test('other bytes, another peer, another signature and nonsense are all refused without throwing', () => {
  const signature = key.sign(message)
  const other = nodeKeyOf(new Uint8Array(32).fill(2))
  expect(verifyBy(key.peerId, Buffer.from('what was not'), signature)).toBe(false)
  expect(verifyBy(other.peerId, message, signature)).toBe(false)
  expect(verifyBy(key.peerId, message, signature.subarray(1))).toBe(false)
  expect(verifyBy(key.peerId, message, new Uint8Array(64))).toBe(false)
  expect(verifyBy('nobody', message, signature)).toBe(false)
  // 32 bytes that are no point of the curve.
  expect(verifyBy(peerIdOf(new Uint8Array(32).fill(255)), message, signature)).toBe(false)
})

test('a signature with the group order added to it is refused: nobody makes a second form of a record', () => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const signature = key.sign(message)
  const s = BigInt(bytesToHex(signature.subarray(32).toReversed())) + order
  signature.set(hexToBytes(`0x${s.toString(16).padStart(64, '0')}`).toReversed(), 32)
  expect(verifyBy(key.peerId, message, signature)).toBe(false)
})

test('the seed that was given is copied', () => {
  const seed = new Uint8Array(32).fill(3)
  const { seed: kept } = nodeKeyOf(seed)
  seed.fill(0)
  expect(kept[0]).toBe(3)
  expect(() => nodeKeyOf(new Uint8Array(31))).toThrow('32 bytes')
})
