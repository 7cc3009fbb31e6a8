import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { isCurrent, migrate, migrations } from './migrate.ts'
import { sellerChannel, testDb } from './samples.ts'
import { loadChannels, saveChannel } from './seller-operations.ts'

const hash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16)

test('a migration that was released never changes', () => {
  expect(migrations.seller.map(hash)).toEqual([
    'baa24bbf75d3c0a5',
    'd496ae5dca36f06f',
    'b57c444ce3d823ae',
    'f72aa24b864baf5e',
    '79ef011d7912f21a',
    'ca0abf42e4fb5c06',
  ])
  expect(migrations.buyer.map(hash)).toEqual([
    'baa24bbf75d3c0a5',
    'c8c8b480ce8c147f',
    'b57c444ce3d823ae',
    '39459e10cc5c6ef5',
    '5ba129b324a03a7c',
  ])
  expect(migrations.tower.map(hash)).toEqual(['baa24bbf75d3c0a5', '31432c80f1c3fb50', 'b57c444ce3d823ae'])
})

test('migrating twice changes nothing', () => {
  using store = testDb('buyer')
  migrate(store.db, 'buyer')
  expect(isCurrent(store.db, 'buyer')).toBe(true)
})

test('a list that nobody asks goes, and what a seller knows stays', () => {
  using store = testDb('seller')
  const { db } = store
  saveChannel(db, { channel: sellerChannel() })
  const created = /CREATE TABLE deposits [^;]*;/.exec(migrations.seller[1]!)![0]
  db.exec(`${created} INSERT INTO deposits VALUES ('a', 'b', 1, 'c')`)
  db.pragma('user_version = 5')
  migrate(db, 'seller')
  expect(isCurrent(db, 'seller')).toBe(true)
  expect(db.prepare(`SELECT name FROM sqlite_master WHERE name = 'deposits'`).all()).toEqual([])
  expect(loadChannels(db)).toMatchObject([sellerChannel()])
})

test('a database of a newer openseed is refused', () => {
  using store = testDb('seller')
  store.db.pragma('user_version = 999')
  expect(() => migrate(store.db, 'seller')).toThrow(expect.objectContaining({ code: 'store_newer' }))
  expect(() => isCurrent(store.db, 'seller')).toThrow(expect.objectContaining({ code: 'store_newer' }))
})

test('a step that fails leaves the database as it was', () => {
  using store = testDb('seller')
  store.db.pragma('user_version = 1')
  expect(() => migrate(store.db, 'seller')).toThrow('already exists')
  expect(store.db.pragma('user_version', { simple: true })).toBe(1n)
  expect(store.db.inTransaction).toBe(false)
})

test('a database is opened so that a commit survives a power cut', () => {
  using store = testDb('seller')
  const pragma = (name: string) => store.db.pragma(name, { simple: true })
  expect([pragma('journal_mode'), pragma('synchronous'), pragma('foreign_keys')]).toEqual(['wal', 2n, 1n])
})
