import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesToHex, hexToBytes } from './hex.ts'
import { nodeKeyOf } from './node-key.ts'
import { asPeerId, isPeerId, peerIdBytes, peerIdOf, publicKeyOf } from './peer-id.ts'

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

test('the peer id of the first key of RFC 8032 is the one libp2p writes', () => {
  const publicKey = hexToBytes('0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
  expect(peerIdOf(publicKey)).toBe('12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV')
})

test('peer ids equal those of libp2p for random keys', async () => {
  await fc.assert(
    fc.asyncProperty(bytes32, async (seed) => {
      const { publicKey } = await generateKeyPairFromSeed('Ed25519', seed)
      expect(nodeKeyOf(seed).peerId).toBe(peerIdFromPublicKey(publicKey).toString())
    }),
    { numRuns: 25 },
  )
})

test('a peer id gives its key back, for the least and the greatest key too', () => {
  fc.assert(
    fc.property(
      fc.oneof(bytes32, fc.constantFrom(new Uint8Array(32), new Uint8Array(32).fill(255))),
      (publicKey) => {
        const read = publicKeyOf(asPeerId(peerIdOf(publicKey)))
        expect(read && bytesToHex(read)).toBe(bytesToHex(publicKey))
      },
    ),
  )
})

test('any other text is no peer id', () => {
  const good = peerIdOf(new Uint8Array(32))
  // A key of another kind, another length, letters outside of the alphabet, blanks around.
  const others = ['', good.slice(1), `${good}1`, ` ${good}`, good.replace(/.$/, '0'), `Qm${good.slice(2)}`]
  for (const text of [...others, '12D3KooW'.padEnd(52, 'z'), '12D3KooW'.padEnd(52, '1')])
    expect(peerIdBytes(text)).toBeNull()
  expect(() => asPeerId(good.toLowerCase())).toThrow('peer must be the peer id of an Ed25519 key.')
})

test('the names next to the least and the greatest one are no peer ids', () => {
  const alphabet = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
  const beside = (peer: string, step: number) =>
    peer.slice(0, -1) + alphabet[alphabet.indexOf(peer.at(-1)!) + step]
  const [least, greatest] = [peerIdOf(new Uint8Array(32)), peerIdOf(new Uint8Array(32).fill(255))]
  expect([least, beside(least, 1), beside(greatest, -1), greatest].every(isPeerId)).toBe(true)
  expect([beside(least, -1), beside(greatest, 1)].some(isPeerId)).toBe(false)
})

test('a key of another length has no peer id', () => {
  expect(() => peerIdOf(new Uint8Array(33))).toThrow('32 bytes')
})
