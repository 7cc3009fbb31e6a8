import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { signRecord } from '../wire/record.ts'
import type { SellerBody } from '../wire/seller-record.ts'
import { reachOf, type ReachRules } from './reach.ts'

const key = nodeKey(1)
const publicAddr = '/ip4/8.8.8.8/tcp/8405'
const homeAddr = '/ip4/192.168.1.7/tcp/8405'
const relayed = `/ip4/9.9.9.9/tcp/8406/p2p/${nodeKey(2).peerId}/p2p-circuit/p2p/${key.peerId}`

function reach(body: Partial<SellerBody>, rules: Partial<ReachRules> = {}, metAt?: string[]) {
  const record = signRecord(key, sellerDraft(1_800_000_000_000, { networks: ['eip155:1'], ...body }))
  const usual = { network: { caip2: 'eip155:1' }, allowPrivate: false, allowPlainHttp: false }
  return reachOf(record, { ...usual, ...rules }, metAt)
}

test('a seller with addresses is called by its peer, one with a URL only by that', () => {
  expect(reach({ url: 'https://s.example/', addrs: [publicAddr, relayed] })).toEqual({
    url: `openseed://${key.peerId}`,
    target: { url: 'https://s.example', addrs: [publicAddr, relayed] },
  })
  expect(reach({ url: 'https://s.example/', addrs: [] })).toEqual({
    url: 'https://s.example',
    target: { url: 'https://s.example', addrs: [] },
  })
})

test('it keeps that name when none of its addresses may be dialled', () => {
  expect(reach({ url: 'https://s.example', addrs: [homeAddr] })).toEqual({
    url: `openseed://${key.peerId}`,
    target: { url: 'https://s.example', addrs: [] },
  })
})

test('nobody follows a record into a private network unless that is allowed', () => {
  const body = { url: 'http://127.0.0.1:8403', addrs: [homeAddr, '/ip4/127.0.0.1/tcp/1'] }
  expect(reach(body)).toBeNull()
  expect(reach(body, { allowPrivate: true })?.target).toEqual(body)
})

test('nobody follows a record to a port of the own machine, by whatever address of it', () => {
  for (const { address, family } of Object.values(networkInterfaces()).flatMap((links) => links ?? [])) {
    const isV6 = family === 'IPv6'
    const url = `https://${isV6 ? `[${address}]` : address}:8403`
    const addrs = [`/${isV6 ? 'ip6' : 'ip4'}/${address}/tcp/22`]
    expect(reach({ url: null, addrs })).toBeNull()
    expect(reach({ url, addrs: [] })).toBeNull()
  }
})

test('a private address behind a public relay is not dialled either', () => {
  expect(reach({ url: null, addrs: [relayed.replace('9.9.9.9', '10.0.0.1')] })).toBeNull()
})

test('http without TLS to another machine is followed only when that is allowed', () => {
  const plain = { url: 'http://s.example:8403', addrs: [] }
  expect(reach(plain)).toBeNull()
  expect(reach(plain, { allowPrivate: true })).toBeNull()
  expect(reach(plain, { allowPlainHttp: true })?.url).toBe('http://s.example:8403')
  expect(reach({ url: 'http://10.0.0.7', addrs: [] }, { allowPrivate: true })).toBeNull()
  expect(reach({ url: 'http://localhost:8403', addrs: [] }, { allowPrivate: true })).not.toBeNull()
  expect(reach({ url: 'http://[::1]:8403', addrs: [] }, { allowPrivate: true })).not.toBeNull()
})

test('a seller of another network is left alone', () => {
  expect(reach({ url: 'https://s.example', networks: ['eip155:2'] })).toBeNull()
})

test('where we met a peer ourselves it may be dialled, whatever its record says', () => {
  expect(reach({ url: 'http://127.0.0.1:8403', addrs: [] }, {}, [homeAddr])).toEqual({
    url: `openseed://${key.peerId}`,
    target: { url: null, addrs: [homeAddr] },
  })
})
