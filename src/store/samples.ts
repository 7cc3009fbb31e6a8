/** Rows and databases for tests of the store. */
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Hex } from '../wire/hex.ts'
import { migrate, type SchemaName } from './migrate.ts'
import { makeDurable, openFile, type Db } from './open.ts'
import type { BuyerChannelRow, BuyerRequestRow, SellerChannelRow, SellerRequestRow } from './rows.ts'

export const hex32 = (seed: number): Hex => `0x${seed.toString(16).padStart(64, '0')}`
export const address = (seed: number): Hex => `0x${seed.toString(16).padStart(40, '0')}`
export const channelId = hex32(1)

const config = {
  payer: address(1),
  payerAuthorizer: address(2),
  receiver: address(3),
  receiverAuthorizer: address(4),
  token: address(5),
  withdrawDelay: 86_400,
  salt: hex32(6),
}

export const sellerChannel = (change: Partial<SellerChannelRow> = {}): SellerChannelRow => ({
  id: channelId,
  config,
  balance: 1_000_000n,
  totalClaimed: 0n,
  charged: 0n,
  signed: 0n,
  signature: null,
  told: 0n,
  refunding: 0n,
  withdrawing: 0n,
  withdrawInitiatedAtSec: 0,
  refundNonce: 0n,
  rev: 1,
  ...change,
})

export const sellerRequest = (change: Partial<SellerRequestRow> = {}): SellerRequestRow => ({
  channelId,
  id: hex32(10),
  stock: false,
  ceiling: 100n,
  meter: 0n,
  bodyHash: hex32(11),
  offerHash: hex32(12),
  admitBySec: 2_000_000_000,
  signature: null,
  openedAtMs: 1_900_000_000_000,
  state: 'open',
  charged: 0n,
  cumulative: 0n,
  receipt: null,
  streamed: false,
  closedAtMs: null,
  ...change,
})

export const buyerChannel = (change: Partial<BuyerChannelRow> = {}): BuyerChannelRow => ({
  id: channelId,
  sellerUrl: 'http://seller.test',
  config,
  index: 0,
  balance: 1_000_000n,
  charged: 0n,
  signed: 0n,
  signature: null,
  deposit: null,
  refunding: 0n,
  state: 'open',
  rev: 1,
  ...change,
})

export const buyerRequest = (change: Partial<BuyerRequestRow> = {}): BuyerRequestRow => ({
  channelId,
  id: hex32(10),
  sellerUrl: 'http://seller.test',
  model: 'tiny',
  offerHash: hex32(12),
  bodyHash: hex32(11),
  ceiling: 100n,
  admitBySec: 2_000_000_000,
  signature: null,
  openedAtMs: 1_900_000_000_000,
  state: 'open',
  charged: 0n,
  receipt: null,
  outcome: null,
  closedAtMs: null,
  ...change,
})

export interface TestHome extends Disposable {
  dir: string
  path: string
}

/** A private folder for one test, removed with it. */
export function testHome(): TestHome {
  const folder = mkdtempDisposableSync(join(tmpdir(), 'openseed-store-'))
  return {
    dir: folder.path,
    path: join(folder.path, 'store.sqlite'),
    [Symbol.dispose]: () => folder.remove(),
  }
}

export interface TestDb extends Disposable {
  db: Db
}

/** A database of this schema, opened in this thread. */
export function testDb(schema: SchemaName): TestDb {
  const home = testHome()
  const db = openFile(home.path, { readonly: false, timeoutMs: 0 })
  makeDurable(db)
  migrate(db, schema)
  const dispose = () => {
    db.close()
    home[Symbol.dispose]()
  }
  return { db, [Symbol.dispose]: dispose }
}
