import { expect, test } from 'vitest'
import { runGroup, type Call } from './group.ts'
import { testDb } from './samples.ts'
import { sellerOperations } from './seller-operations.ts'

const set = (id: number, key: string, value: string): Call => ({
  id,
  kind: 'write',
  name: 'setMeta',
  params: { key, value },
})
const get = (id: number, key: string): Call => ({ id, kind: 'read', name: 'getMeta', params: { key } })
const breakDisk = () => {
  throw Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR_READ' })
}

test('queries of a group are answered after its commit', () => {
  using store = testDb('seller')
  const replies = runGroup(store.db, sellerOperations, [get(1, 'k'), set(2, 'k', 'v')])
  expect(replies).toEqual([
    { id: 2, value: undefined },
    { id: 1, value: 'v' },
  ])
})

test('a database that may not grow refuses the whole group at the write that needs space', () => {
  using store = testDb('seller')
  const { db } = store
  db.pragma('max_page_count = 40')
  const full = [set(1, 'first', '1'), set(2, 'big', 'x'.repeat(400_000)), set(3, 'last', '3')]
  const message = expect.stringContaining('database or disk is full')
  const unavailable = expect.objectContaining({ code: 'store_unavailable', message })
  expect(runGroup(db, sellerOperations, full)).toEqual([1, 2, 3].map((id) => ({ id, error: unavailable })))
  expect(db.inTransaction).toBe(false)
  const after = runGroup(db, sellerOperations, [set(4, 'after', '4'), get(5, 'first'), get(6, 'after')])
  expect(after).toEqual([
    { id: 4, value: undefined },
    { id: 5, value: null },
    { id: 6, value: '4' },
  ])
})

test('a fault of the disk undoes the whole group even where SQLite leaves the transaction open', () => {
  using store = testDb('seller')
  const operations = { ...sellerOperations, writes: { ...sellerOperations.writes, breakDisk } }
  const calls = [set(1, 'first', '1'), { ...set(2, '', ''), name: 'breakDisk' }]
  expect(runGroup(store.db, operations, calls)).toMatchObject([
    { id: 1, error: { code: 'store_unavailable' } },
    { id: 2, error: { code: 'store_unavailable' } },
  ])
  expect(runGroup(store.db, operations, [set(3, 'k', 'v'), get(4, 'first')])).toEqual([
    { id: 3, value: undefined },
    { id: 4, value: null },
  ])
})

test('an unknown operation fails alone', () => {
  using store = testDb('seller')
  const replies = runGroup(store.db, sellerOperations, [
    { ...set(1, 'k', 'v'), name: 'none' },
    { ...get(2, 'k'), name: 'none' },
    set(3, 'k', 'v'),
  ])
  expect(replies).toMatchObject([
    { id: 1, error: { code: 'internal_error' } },
    { id: 3, value: undefined },
    { id: 2, error: { code: 'internal_error' } },
  ])
})
