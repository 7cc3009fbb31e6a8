import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  anyHeartbeatBody,
  anyIndexBody,
  anyModels,
  anySellerBody,
  heartbeatDraft,
  nodeKey,
  recordModel,
  sellerDraft,
} from '../../test/fixtures/records.ts'
import { hasCode } from '../base/errors.ts'
import { hexToBytes } from './hex.ts'
import { verifyBy } from './node-key.ts'
import {
  encodeRecord,
  mostRecordBytes,
  mostSignedBytes,
  nextSeq,
  parseRecord,
  recordBytes,
  signRecord,
  type AnyRecord,
} from './record.ts'
import { catalogHash, catalogText, mostCatalogBytes, parseCatalog } from './seller-record.ts'

const nowMs = 1_800_000_000_000
const key = nodeKey(1)
const roundTrip = (record: AnyRecord) => parseRecord(JSON.parse(encodeRecord(record)))

test('a record reads back as it was signed, whatever it says', () => {
  const drafts = fc.oneof(
    anySellerBody.map((body) => ({ type: 'seller' as const, seq: nowMs, expSec: 1, body })),
    anyHeartbeatBody.map((body) => ({ type: 'heartbeat' as const, seq: nowMs, expSec: 1, body })),
    anyIndexBody.map((body) => ({ type: 'index' as const, seq: nowMs, expSec: 1, body })),
  )
  fc.assert(
    fc.property(drafts, (draft) => {
      const record = signRecord(key, draft)
      expect(record.body).toEqual(draft.body)
      expect(roundTrip(record)).toEqual(record)
      expect(verifyBy(record.peer, recordBytes(record), hexToBytes(record.signature))).toBe(true)
      expect(Buffer.byteLength(encodeRecord(record))).toBeLessThanOrEqual(mostRecordBytes)
    }),
  )
})

test('what is signed is the prefix of its type and the canonical JSON of the record without its signature', () => {
  const record = signRecord(key, heartbeatDraft(nowMs))
  expect(Buffer.from(recordBytes(record)).toString()).toBe(
    `openseed/heartbeat/1\n{"body":{"free":7,"queued":0,"recordSeq":1,"running":1,"tps":41.5,"warm":["llama-3.3-70b"]},"exp":1800000090,"peer":"${key.peerId}","seq":1800000000000,"type":"heartbeat","v":1}`,
  )
})

test('members of the body that are not known here are covered by the signature and passed on', () => {
  const { type, peer, seq, expSec, body } = signRecord(key, heartbeatDraft(nowMs))
  const later = {
    v: 1,
    type,
    peer,
    seq,
    exp: expSec,
    body: { ...body, z: { y: [1] } },
    signature: `0x${'00'.repeat(64)}`,
  }
  const record = parseRecord(later)
  expect(record.body).toEqual(body)
  expect(JSON.parse(encodeRecord(record))).toEqual(later)
  expect(Buffer.from(recordBytes(record)).toString()).toContain('"z":{"y":[1]}')
})

test('the order of members and white space do not change what is signed', () => {
  const record = signRecord(key, sellerDraft(nowMs))
  const shuffled = Object.fromEntries(Object.entries(JSON.parse(encodeRecord(record))).toReversed())
  expect(parseRecord(JSON.parse(JSON.stringify(shuffled, null, 2)))).toEqual(record)
})

test('a record of exactly 2,048 signed bytes is signed and one byte more is not', () => {
  const models = Array.from({ length: 9 }, (_, n) => recordModel({ id: `model-${n}` }))
  const spare =
    mostSignedBytes -
    recordBytes(signRecord(key, sellerDraft(nowMs, { models, url: 'https://seller.example.com/' }))).length
  expect(spare).toBeGreaterThan(0)
  const filled = (bytes: number) =>
    sellerDraft(nowMs, { models, url: `https://seller.example.com/${'x'.repeat(bytes)}` })
  expect(recordBytes(signRecord(key, filled(spare)))).toHaveLength(mostSignedBytes)
  expect(() => signRecord(key, filled(spare + 1))).toThrow('at most 2048 bytes; this one has 2049')
})

test('nothing is signed that a reader would refuse', () => {
  const two = [recordModel(), recordModel({ in: 1n })]
  for (const changes of [
    { models: two },
    { models: null },
    { catalog: { hash: `0x${'00'.repeat(32)}` as const, url: 'https://a.example.com' } },
    { url: 'https://user:password@example.com' },
    { url: 'file:///etc/passwd' },
    { addrs: ['/unix/run/docker.sock'] },
    { region: 'eu\u001b[2J' },
    { region: '\u202eeu' },
    { region: '\u061ceu' },
    { region: '\ud800' },
    { region: '' },
    { networks: [] },
    { networks: ['base'] },
    { limits: { concurrency: -1, maxBodyBytes: 1 } },
    { hardware: { vramGiB: Infinity } },
  ])
    expect(() => signRecord(key, sellerDraft(nowMs, changes))).toThrow('must be')
})

test('a sequence follows the clock and still rises when the clock goes back', () => {
  expect(nextSeq(null, 1_000)).toBe(1_000)
  expect(nextSeq(1_000, 2_000)).toBe(2_000)
  expect(nextSeq(2_000, 1_000)).toBe(2_001)
  expect(nextSeq(2_000, 2_000)).toBe(2_001)
})

test('parsing arbitrary JSON gives a record or invalid_message and nothing else', () => {
  const good = JSON.parse(encodeRecord(signRecord(key, sellerDraft(nowMs)))) as Record<string, unknown>
  const body = good['body'] as object
  fc.assert(
    fc.property(
      fc.oneof(
        fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withSparseArray: true }),
        fc
          .record({ name: fc.constantFrom(...Object.keys(good)), value: fc.anything() })
          .map(({ name, value }) => ({ ...good, [name]: value })),
        fc
          .record({ name: fc.constantFrom(...Object.keys(body)), value: fc.jsonValue() })
          .map(({ name, value }) => ({ ...good, body: { ...body, [name]: value } })),
      ),
      (input) => {
        try {
          const record = parseRecord(input)
          expect(roundTrip(record)).toEqual(record)
        } catch (thrown) {
          expect(hasCode(thrown, 'invalid_message') || thrown).toBe(true)
        }
      },
    ),
  )
})

test('a catalogue by hash reads back, and any other bytes are refused', () => {
  fc.assert(
    fc.property(anyModels, fc.nat(), (models, at) => {
      const text = catalogText(models)
      const bytes = Buffer.from(text)
      expect(parseCatalog(bytes, catalogHash(text))).toEqual(models)
      bytes[at % bytes.length]! ^= 1
      expect(() => parseCatalog(bytes, catalogHash(text))).toThrow('A catalog')
    }),
  )
  const nonsense = 'no JSON'
  expect(() => parseCatalog(Buffer.from(nonsense), catalogHash(nonsense))).toThrow('A catalog must be JSON.')
  const huge = ' '.repeat(mostCatalogBytes + 1)
  expect(() => parseCatalog(Buffer.from(huge), catalogHash(huge))).toThrow('A catalog')
})
