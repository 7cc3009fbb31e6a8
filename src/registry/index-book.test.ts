import { expect, test } from 'vitest'
import { indexDraft, nodeKey } from '../../test/fixtures/records.ts'
import type { IndexRecord } from '../wire/record.ts'
import { signRecord } from '../wire/record.ts'
import type { IndexBody } from '../wire/seller-record.ts'
import { IndexBook, mostOthers } from './index-book.ts'

const startMs = 1_900_000_000_000
const bookOf = (allowPrivate = false, now = () => startMs) =>
  new IndexBook({ key: nodeKey(0), build: 'test', allowPrivate, now })
const record = (number: number, changes: Partial<IndexBody> = {}): IndexRecord =>
  signRecord(nodeKey(number), indexDraft(startMs, changes))

test('only places that others could be sent to are told, and a change of them makes a new record', () => {
  const book = bookOf()
  book.setUrl('http://0.0.0.0:8404')
  expect(book.own().body).toEqual({ url: null, addrs: [], build: 'test' })
  book.setUrl('https://registry.example.com/')
  const addrs = ['/ip4/127.0.0.1/tcp/1/p2p/x', '/ip4/8.8.8.8/tcp/1/p2p/x']
  book.setAddrs(addrs)
  const first = book.own()
  expect(first.body).toMatchObject({ url: 'https://registry.example.com', addrs: [addrs[1]] })
  book.setAddrs([...addrs, '/ip4/10.0.0.1/tcp/1/p2p/x'])
  expect(book.own()).toBe(first)
  book.setAddrs([])
  expect(book.own().seq).toBeGreaterThan(first.seq)
  const open = bookOf(true)
  open.setAddrs(Array.from({ length: 12 }, (_, n) => `/ip4/127.0.0.1/tcp/${n + 1}`))
  expect(open.own().body.addrs).toHaveLength(8)
})

test('others come once each, those that were asked first, and no one of them fills the list', () => {
  const book = bookOf()
  const many = (from: number) => Array.from({ length: 50 }, (_, n) => record(from + n))
  const [first, second] = [many(100), many(200)]
  book.learn('https://a', { record: record(1), others: [record(2), record(0), ...first] })
  book.learn('https://b', { record: record(2), others: [record(3), ...second] })
  const others = book.others().map(({ peer }) => peer)
  expect(others).toHaveLength(mostOthers)
  expect(others.slice(0, 4)).toEqual(
    [nodeKey(1), nodeKey(2), nodeKey(3), nodeKey(200)].map(({ peerId }) => peerId),
  )
  expect(others).not.toContain(nodeKey(0).peerId)
  expect(first.filter(({ peer }) => others.includes(peer)).length).toBeGreaterThan(20)
})

test('what has expired, leads nowhere or into a private network is not passed on', () => {
  let nowMs = startMs
  const book = bookOf(false, () => nowMs)
  const others = [
    record(2, { url: 'http://10.0.0.1' }),
    record(3, { url: null, addrs: ['/ip4/8.8.8.8/tcp/1', '/ip4/192.168.0.1/tcp/1'] }),
    record(4, { url: null }),
    record(5, { url: null, addrs: ['/ip4/8.8.8.8/tcp/1'] }),
  ]
  book.learn('https://a', { record: record(1), others })
  expect(book.others().map(({ peer }) => peer)).toEqual([nodeKey(1).peerId, nodeKey(5).peerId])
  nowMs += 3_600_000
  expect(book.others()).toEqual([])
})
