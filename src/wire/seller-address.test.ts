import { expect, test } from 'vitest'
import { nodeKeyOf } from './node-key.ts'
import { peerAddress, peerOfAddress } from './seller-address.ts'

const peer = nodeKeyOf(new Uint8Array(32).fill(7)).peerId

test('an address names the peer it was made of, letter by letter', () => {
  expect(peerAddress(peer)).toBe(`openseed://${peer}`)
  expect(peerOfAddress(peerAddress(peer))).toBe(peer)
  expect(peerOfAddress(`${peerAddress(peer)}/`)).toBe(peer)
})

test.each([
  'https://example.com',
  `http://${peer}`,
  'openseed://',
  'openseed://example.com',
  `openseed://${peer.toLowerCase()}`,
  `openseed://${peer}/v1`,
  `openseed://user@${peer}`,
  '',
])('%s names no peer', (address) => {
  expect(peerOfAddress(address)).toBeNull()
})
