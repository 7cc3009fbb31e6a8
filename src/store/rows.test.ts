import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { loadChannel, saveChannel } from './seller-operations.ts'
import { sellerChannel, testDb, channelId } from './samples.ts'

const amount = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })

test('every amount up to 2^63-1 comes back exactly as it was stored', () => {
  using store = testDb('seller')
  const { db } = store
  saveChannel(db, { channel: sellerChannel() })
  fc.assert(
    fc.property(amount, amount, fc.nat(), (balance, told, withdrawInitiatedAtSec) => {
      db.exec('SAVEPOINT sample')
      const channel = sellerChannel({ balance, told, withdrawInitiatedAtSec, signed: 2n ** 63n - 1n, rev: 2 })
      saveChannel(db, { channel })
      expect(loadChannel(db, { channelId })).toEqual({ ...channel, openRequests: [] })
      db.exec('ROLLBACK TO sample; RELEASE sample')
    }),
    { numRuns: 100 },
  )
})

test('an amount above 2^63-1 is refused, never rounded', () => {
  using store = testDb('seller')
  const channel = sellerChannel({ balance: 2n ** 63n })
  expect(() => saveChannel(store.db, { channel })).toThrow(RangeError)
})
