import { expect, test } from 'vitest'
import { networkOf } from './network-of.ts'

test('addresses of one customer are one network, however they are written', () => {
  expect(networkOf('/ip4/8.8.4.4/tcp/4001')).toBe('8.8.4')
  expect(networkOf('/ip4/8.8.4.200/tcp/1/p2p/x')).toBe('8.8.4')
  const ipv6 = ['2a01:4f8:c0c::1', '2A01:04F8:0C0C:1234::9', '2a01:4f8:c0c:0:0:0:0:2']
  expect(new Set(ipv6.map((ip) => networkOf(`/ip6/${ip}/tcp/1`)))).toEqual(new Set(['2a01:4f8:c0c']))
  expect(networkOf('/ip6/2a01::1/tcp/1')).toBe('2a01:0:0')
})

test('a private address is of no network, and neither is a name', () => {
  for (const addr of [
    '/ip4/127.0.0.1/tcp/1',
    '/ip4/10.1.2.3/tcp/1',
    '/ip6/fe80::1/tcp/1',
    '/dns4/a.b/tcp/1',
    '',
  ]) {
    expect(networkOf(addr)).toBeNull()
  }
})
