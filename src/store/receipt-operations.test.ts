import { expect, test } from 'vitest'
import { findOffer, saveOffer } from './common-operations.ts'
import { open, settleRequest } from './buyer-operations.ts'
import {
  addDrift,
  buyerReceipts,
  dispute,
  findOffers,
  listDisputes,
  listDistrusted,
  listDrift,
  sellerReceipts,
  type DisputeRow,
  type ReceiptFilter,
} from './receipt-operations.ts'
import {
  address,
  buyerChannel,
  buyerRequest,
  channelId,
  hex32,
  sellerChannel,
  sellerRequest,
  testDb,
} from './samples.ts'
import { admit, finish } from './seller-operations.ts'

const all: ReceiptFilter = {
  channelIds: null,
  model: null,
  idPrefix: null,
  sinceMs: null,
  untilMs: null,
  limit: -1,
}
const offer = { hash: hex32(12), json: '{"details":{"model":"tiny"}}', atMs: 5 }

const disputed = (change: Partial<DisputeRow> = {}): DisputeRow => ({
  channelId,
  requestId: hex32(10),
  sellerUrl: 'http://seller.test',
  reason: 'over_price',
  provable: true,
  receipt: '{"lie":1}',
  facts: '{}',
  atMs: 100,
  ...change,
})
const distrust = { signer: address(4), reason: 'over_price', sinceMs: 100, untilMs: 900 }

test('an offer is stored with the first request under it, and neither changed nor deleted afterwards', () => {
  using store = testDb('buyer')
  const { db } = store
  open(db, { channel: buyerChannel({ signed: 100n }), request: buyerRequest(), offer })
  saveOffer(db, { ...offer, json: 'other' })
  expect(findOffer(db, { hash: offer.hash })).toEqual(offer)
  expect(findOffers(db, { hashes: [offer.hash, hex32(99)] })).toEqual([offer])
  expect(() => db.exec('DELETE FROM offers')).toThrow('never deleted')
  expect(() => db.exec("UPDATE offers SET json = ''")).toThrow('never changes')
})

test('receipts are found by channel, model, id and time, the newest first', () => {
  using store = testDb('buyer')
  const { db } = store
  for (const at of [1, 2, 3]) {
    const id = hex32(at)
    const model = at === 3 ? 'other' : 'tiny'
    open(db, {
      channel: buyerChannel({ rev: at * 2 - 1, signed: 100n }),
      request: buyerRequest({ id, model, signature: '0x12' }),
    })
    const request = {
      channelId,
      id,
      charged: 1n,
      receipt: `{"at":${at}}`,
      outcome: 'answered',
      closedAtMs: at * 10,
    }
    settleRequest(db, { channel: buyerChannel({ rev: at * 2, signed: 100n }), request })
  }
  const ids = (change: Partial<ReceiptFilter>) =>
    buyerReceipts(db, { ...all, ...change }).map(({ id }) => Number(id))
  expect(ids({})).toEqual([3, 2, 1])
  expect(ids({ limit: 2 })).toEqual([3, 2])
  expect(ids({ model: 'tiny' })).toEqual([2, 1])
  expect(ids({ idPrefix: hex32(2) })).toEqual([2])
  expect(ids({ sinceMs: 20, untilMs: 30 })).toEqual([2])
  expect(ids({ channelIds: [hex32(7)] })).toEqual([])
  expect(ids({ channelIds: [channelId] })).toHaveLength(3)
  expect(buyerReceipts(db, all)[0]).toMatchObject({ signature: '0x12', charged: 1n, disputed: null })
})

test('evidence against a seller is kept beside what was booked, and once', () => {
  using store = testDb('buyer')
  const { db } = store
  open(db, { channel: buyerChannel({ signed: 100n }), request: buyerRequest() })
  dispute(db, { dispute: disputed(), distrust })
  dispute(db, {
    dispute: disputed({ reason: 'other_offer', atMs: 200 }),
    distrust: { ...distrust, untilMs: 500 },
  })
  expect(listDisputes(db)).toEqual([disputed()])
  // A shorter time does not end a longer one.
  expect(listDistrusted(db)).toEqual([distrust])
  // Not booked, and shown all the same.
  expect(buyerReceipts(db, all)).toMatchObject([{ receipt: '{"lie":1}', disputed: 'over_price', atMs: 100 }])
  expect(() => db.exec('DELETE FROM disputes')).toThrow('never deleted')
  expect(() => db.exec("UPDATE disputes SET reason = ''")).toThrow('never changes')
})

test('drift adds up for each signer and model', () => {
  using store = testDb('buyer')
  const { db } = store
  const one = {
    signer: address(4),
    model: 'tiny',
    replies: 1,
    reportedOutput: 20,
    countedOutput: 10,
    reportedInput: 7,
    countedInput: 7,
    atMs: 5,
  }
  addDrift(db, one)
  addDrift(db, { ...one, atMs: 9 })
  addDrift(db, { ...one, model: 'other' })
  expect(listDrift(db)).toMatchObject([
    { model: 'other', replies: 1 },
    { model: 'tiny', replies: 2, reportedOutput: 40, countedOutput: 20, atMs: 9 },
  ])
})

test('a seller finds its receipts by the model of their offer', () => {
  using store = testDb('seller')
  const { db } = store
  saveOffer(db, offer)
  admit(db, { channel: sellerChannel({ signed: 100n }), request: sellerRequest({ signature: '0x34' }) })
  const request = {
    channelId,
    id: hex32(10),
    charged: 1n,
    cumulative: 1n,
    receipt: '{}',
    closedAtMs: 10,
    streamed: true,
  }
  finish(db, { channel: sellerChannel({ signed: 100n, charged: 1n, rev: 2 }), request })
  expect(sellerReceipts(db, { ...all, model: 'tiny' })).toMatchObject([
    { model: 'tiny', signature: '0x34', sellerUrl: null },
  ])
  expect(sellerReceipts(db, { ...all, model: 'other' })).toEqual([])
})
