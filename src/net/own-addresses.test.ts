import { isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { isOwnIp, isOwnMultiaddr } from './own-addresses.ts'

const own = Object.values(networkInterfaces()).flatMap((links) => (links ?? []).map(({ address }) => address))

test('every address of this machine is its own, however it is written', () => {
  expect(own).toContain('127.0.0.1')
  for (const ip of own) {
    const spellings = isIPv4(ip) ? [ip, `::ffff:${ip}`] : [ip, ip.toUpperCase()]
    for (const spelling of spellings) {
      expect(isOwnIp(spelling)).toBe(true)
      expect(isOwnMultiaddr(`/ip${isIPv4(spelling) ? 4 : 6}/${spelling}/tcp/22`)).toBe(true)
    }
  }
  expect(isOwnIp('::ffff:7f00:1')).toBe(true)
})

test.each(['8.8.8.8', '2001:4860:4860::8888', 'own.example', ''])('%s is not', (ip) => {
  expect(isOwnIp(ip)).toBe(false)
})

test('a multiaddr leads here too when only its end does', () => {
  expect(isOwnMultiaddr('/ip4/9.9.9.9/tcp/1/p2p/a/p2p-circuit/ip4/127.0.0.1/tcp/22')).toBe(true)
  expect(isOwnMultiaddr('/ip4/9.9.9.9/tcp/1/p2p/a')).toBe(false)
  expect(isOwnMultiaddr('/dns4/seller.example/tcp/1')).toBe(false)
  expect(isOwnMultiaddr('/ip4')).toBe(false)
})
