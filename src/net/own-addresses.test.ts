import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { isOwnIp, isOwnMultiaddr, ownOf } from './own-addresses.ts'

test('an address of this machine is known however it is written', () => {
  const isOwn = ownOf(['8.8.4.4', '2a01:4f8:c0c::1'])
  for (const ip of ['8.8.4.4', '::ffff:8.8.4.4', '::FFFF:808:404', '2a01:4f8:c0c::1', '2A01:04f8:c0c:0::0:1'])
    expect(isOwn(ip)).toBe(true)
  for (const ip of ['8.8.8.8', '::ffff:8.8.8.8', '2a01:4f8:c0c::2', 'example.com', ''])
    expect(isOwn(ip)).toBe(false)
})

test('what the links of this machine say is its own', () => {
  const links = Object.values(networkInterfaces()).flatMap((link) => link ?? [])
  expect(links.length).toBeGreaterThan(0)
  for (const { address } of links) expect(isOwnIp(address)).toBe(true)
  expect(isOwnIp('192.0.2.1')).toBe(false)
})

test('a multiaddr leads here when any host that it names does', () => {
  const isOwn = ownOf(['8.8.4.4', '2a01::1'])
  for (const addr of [
    '/ip4/8.8.4.4/tcp/1/p2p/a/p2p-circuit',
    '/ip4/9.9.9.9/tcp/1/p2p/a/p2p-circuit/ip6/2a01::1/tcp/2',
  ])
    expect(isOwnMultiaddr(addr, isOwn)).toBe(true)
  for (const addr of ['/ip4/9.9.9.9/tcp/1', '/dns4/seller.example.com/tcp/22', '/ip4'])
    expect(isOwnMultiaddr(addr, isOwn)).toBe(false)
})
