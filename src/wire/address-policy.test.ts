import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeIp, judgeMultiaddr, judgeUrl } from './address-policy.ts'

test.each([
  'http://127.0.0.1:8402',
  'http://127.8.9.10',
  'http://2130706433/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://10.0.0.8',
  'http://172.16.0.1',
  'http://172.31.255.255',
  'http://192.168.1.1',
  'http://169.254.169.254/latest/meta-data',
  'http://100.64.0.1',
  'http://[::1]:11434',
  'http://[fc00::1]',
  'http://[fdff::1]',
  'http://[fe80::1]',
  'http://[::ffff:127.0.0.1]',
  'http://[::ffff:7f00:1]',
  'http://[64:ff9b::10.0.0.1]',
  'http://[2002:c0a8:101::1]',
  'http://localhost:3000',
  'http://LOCALHOST.',
  'http://ollama.localhost',
  'http://printer.local',
  'http://vault.internal',
  'http://router',
  'http://nas.home.arpa',
  'http://１２７.０.０.１',
])('%s leads into a private network', (url) => {
  expect(judgeUrl(url)).toBe('private')
})

test.each([
  'ftp://example.com',
  'file:///etc/passwd',
  'javascript:1',
  'unix:/run/docker.sock',
  'ws://example.com',
  'http://user@example.com',
  'http://:secret@example.com',
  'http://0.0.0.0:80',
  'http://0/',
  'http://[::]',
  'http://[::ffff:0.0.0.0]',
  'http://[::127.0.0.1]',
  'http://224.0.0.1',
  'http://255.255.255.255',
  'http://[ff02::1]',
  'http://[::2]',
  'http://a..b',
  'http://',
  'example.com',
  '//example.com',
  '',
])('%s is refused whatever the policy', (url) => {
  expect(judgeUrl(url)).toBe('refused')
})

test.each([
  'https://seller.example.com',
  'http://203.0.113.7:8402/base',
  'http://172.15.0.1',
  'http://172.32.0.1',
  'http://11.0.0.1',
  'http://[2a00:1450:4001::1]',
  'http://[::ffff:8.8.8.8]',
  'http://localhost.example.com',
  'https://bücher.example',
])('%s is public', (url) => {
  expect(judgeUrl(url)).toBe('public')
})

test('a resolved address is judged like one in a URL; text that is none is refused', () => {
  expect(judgeIp('::ffff:10.1.2.3')).toBe('private')
  expect(judgeIp('0:0:0:0:0:0:0:1')).toBe('private')
  expect(judgeIp('8.8.8.8')).toBe('public')
  for (const text of ['', 'localhost', '127.1', '[::1]', 'fe80::1%eth0', '1.2.3.4:80'])
    expect(judgeIp(text)).toBe('refused')
})

test('a multiaddr is as good as the worst host in it', () => {
  expect(judgeMultiaddr('/ip4/203.0.113.7/tcp/4001')).toBe('public')
  expect(judgeMultiaddr('/dns4/seller.example.com/tcp/443/tls/ws')).toBe('public')
  expect(judgeMultiaddr('/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWx/p2p-circuit')).toBe('public')
  expect(judgeMultiaddr('/ip4/127.0.0.1/tcp/22')).toBe('private')
  expect(judgeMultiaddr('/ip6/::1/tcp/22')).toBe('private')
  expect(judgeMultiaddr('/dns/localhost/tcp/22')).toBe('private')
  expect(judgeMultiaddr('/ip4/8.8.8.8/tcp/1/p2p-circuit/ip4/10.0.0.1/tcp/22')).toBe('private')
  const refused = [
    '',
    '/',
    '/tcp/22',
    '/unix/run/docker.sock',
    '/ip4/1',
    '/ip6zone/eth0/ip6/fe80::1/tcp/1',
    'ip4/8.8.8.8',
  ]
  for (const addr of [...refused, '/ip4/0.0.0.0/tcp/1', '/ip4/8.8.8.8/ip4'])
    expect(judgeMultiaddr(addr)).toBe('refused')
})

test('any way of writing an IPv4 address in IPv6 is judged as that address', () => {
  fc.assert(
    fc.property(fc.ipV4(), (ip) => {
      expect(judgeIp(`::ffff:${ip}`)).toBe(judgeIp(ip))
      expect(judgeIp(`64:ff9b::${ip}`)).toBe(judgeIp(ip))
    }),
  )
})

test('no text whatever makes the judges throw', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.ipV6(), fc.domain()), (text) => {
      for (const verdict of [
        judgeUrl(text),
        judgeUrl(`http://${text}`),
        judgeIp(text),
        judgeMultiaddr(`/ip6/${text}`),
      ])
        expect(['public', 'private', 'refused']).toContain(verdict)
    }),
  )
})
