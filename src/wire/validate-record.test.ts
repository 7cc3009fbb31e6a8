import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { heartbeatDraft, indexDraft, nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import type { NodeKey } from './node-key.ts'
import {
  encodeRecord,
  mostRecordBytes,
  recordBytes,
  signRecord,
  type AnyRecord,
  type RecordType,
} from './record.ts'
import { mostTtlSec, validateRecord, type RecordRules } from './validate-record.ts'

const nowSec = 1_800_000_000
const nowMs = nowSec * 1_000
const key = nodeKey(1)
const rules: RecordRules = { nowSec, lastSeq: null }
const bytesOf = (record: AnyRecord) => Buffer.from(encodeRecord(record))
const reasonOf = (input: unknown, changes: Partial<RecordRules> = {}) => {
  const verdict = validateRecord(input, { ...rules, ...changes })
  return verdict.ok ? 'ok' : verdict.reason
}
const seller = signRecord(key, sellerDraft(nowMs))
const samples: AnyRecord[] = [
  seller,
  signRecord(key, heartbeatDraft(nowMs)),
  signRecord(key, indexDraft(nowMs)),
]

describe('a valid record', () => {
  test.each(samples)('is accepted as bytes, text and value: $type', (record) => {
    const text = encodeRecord(record)
    for (const input of [bytesOf(record), text, JSON.parse(text)])
      expect(validateRecord(input, rules)).toEqual({ ok: true, record })
  })

  test('is accepted when type, author and sequence are the expected ones', () => {
    const verdict = validateRecord(bytesOf(seller), {
      ...rules,
      type: 'seller',
      peer: key.peerId,
      lastSeq: nowMs - 1,
    })
    // The type that was demanded is the type that is given.
    expect(verdict.ok && verdict.record.body.payTo).toBe(seller.body.payTo)
  })
})

describe('arbitrary input is refused with a reason and never throws', () => {
  test('bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4_096 }), (bytes) => {
        expect(reasonOf(bytes)).not.toBe('ok')
      }),
    )
  })
  test('text and JSON', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(['malformed', 'oversize', 'unsupported']).toContain(reasonOf(text))
      }),
    )
  })
  test('any value at all', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withMap: true, withDate: true, withNullPrototype: true }),
        (value) => {
          expect(reasonOf(value)).not.toBe('ok')
        },
      ),
    )
  })
  test('a valid record with one byte changed', () => {
    const bytes = bytesOf(seller)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= change
        const verdict = validateRecord(damaged, rules)
        // Hex in the other case says the same; everything else is noticed.
        if (verdict.ok) expect(recordBytes(verdict.record)).toEqual(recordBytes(seller))
      }),
      { numRuns: 1_000 },
    )
  })
  test('deep nesting and huge values', () => {
    const deep: unknown = JSON.parse('{"body":'.repeat(20_000) + '1' + '}'.repeat(20_000))
    expect(reasonOf(deep)).toBe('malformed')
    expect(reasonOf({ ...JSON.parse(encodeRecord(seller)), body: deep })).toBe('malformed')
  })
})

describe('a record is refused that is', () => {
  test('tampered with in any member', () => {
    const value = JSON.parse(encodeRecord(seller)) as { body: object }
    for (const changes of [
      { seq: nowMs + 1 },
      { exp: nowSec + 901 },
      { peer: nodeKey(2).peerId },
      { body: { ...value.body, payTo: `0x${'99'.repeat(20)}` } },
      { body: { ...value.body, extra: 1 } },
      { signature: signRecord(nodeKey(2), sellerDraft(nowMs)).signature },
    ])
      expect(reasonOf({ ...value, ...changes })).toBe('forged')
  })

  test('signed for another type', () => {
    const { peer, seq, expSec, body } = signRecord(key, indexDraft(nowMs))
    const value = { v: 1, type: 'index', peer, seq, exp: expSec, body }
    const canonical = `{"body":${JSON.stringify({ addrs: body.addrs, build: body.build, url: body.url })},"exp":${expSec},"peer":"${peer}","seq":${seq},"type":"index","v":1}`
    const sign = (type: RecordType, by: NodeKey = key) =>
      `0x${Buffer.from(by.sign(Buffer.from(`openseed/${type}/1\n${canonical}`))).toString('hex')}`
    expect(reasonOf({ ...value, signature: sign('index') })).toBe('ok')
    expect(reasonOf({ ...value, signature: sign('seller') })).toBe('forged')
  })

  test('of another type or author than asked for', () => {
    expect(reasonOf(bytesOf(seller), { type: 'index' })).toBe('wrong_type')
    expect(reasonOf(bytesOf(seller), { peer: nodeKey(2).peerId })).toBe('wrong_peer')
  })

  test('known already, or older than what is known', () => {
    expect(reasonOf(bytesOf(seller), { lastSeq: nowMs })).toBe('replayed')
    expect(reasonOf(bytesOf(seller), { lastSeq: nowMs + 1 })).toBe('rollback')
  })

  test('of a later version', () => {
    expect(reasonOf({ ...JSON.parse(encodeRecord(seller)), v: 2 })).toBe('unsupported')
    expect(reasonOf({ ...JSON.parse(encodeRecord(seller)), v: '2' })).toBe('malformed')
  })

  test('too large, as sent or as signed', () => {
    expect(reasonOf(Buffer.alloc(mostRecordBytes + 1, 0x20))).toBe('oversize')
    expect(reasonOf(' '.repeat(mostRecordBytes + 1))).toBe('oversize')
    const value = JSON.parse(encodeRecord(seller)) as { body: object }
    expect(reasonOf({ ...value, body: { ...value.body, padding: 'x'.repeat(2_048) } })).toBe('oversize')
  })
})

describe('time', () => {
  const at = (seqMs: number, expSec: number) => bytesOf(signRecord(key, { ...sellerDraft(seqMs), expSec }))

  test('a record lives until its expiry and the skew', () => {
    const record = bytesOf(seller)
    expect(reasonOf(record, { nowSec: nowSec + 900 + 119 })).toBe('ok')
    expect(reasonOf(record, { nowSec: nowSec + 900 + 120 })).toBe('expired')
    expect(reasonOf(record, { nowSec: nowSec + 900, skewSec: 0 })).toBe('expired')
  })

  test('clocks two minutes apart agree on every type, in both directions', () => {
    for (const record of samples) {
      expect(reasonOf(bytesOf(record), { nowSec: nowSec - 120 })).toBe('ok')
      expect(reasonOf(bytesOf(record), { nowSec: nowSec + 120 })).toBe('ok')
      expect(reasonOf(bytesOf(record), { nowSec: nowSec - 121 })).toBe('future')
    }
  })

  test('a clock wrong by a time zone is refused as future or expired', () => {
    expect(reasonOf(at(nowMs + 3_600_000, nowSec + 3_600 + 900))).toBe('future')
    expect(reasonOf(at(nowMs - 3_600_000, nowSec - 3_600 + 900))).toBe('expired')
    // Seconds where milliseconds belong, and the other way round.
    expect(reasonOf(at(nowSec, nowSec + 900))).toBe('too_long_lived')
    expect(reasonOf({ ...JSON.parse(encodeRecord(seller)), exp: nowMs })).toBe('malformed')
  })

  test('no type may live longer than its limit, whatever its sequence says', () => {
    for (const draft of [sellerDraft(nowMs), heartbeatDraft(nowMs), indexDraft(nowMs)]) {
      const lasting = (ttlSec: number) => bytesOf(signRecord(key, { ...draft, expSec: nowSec + ttlSec }))
      expect(reasonOf(lasting(mostTtlSec[draft.type]))).toBe('ok')
      expect(reasonOf(lasting(mostTtlSec[draft.type] + 1))).toBe('too_long_lived')
    }
    expect(reasonOf(at(nowMs - 1_000_000, nowSec + 900))).toBe('too_long_lived')
    expect(reasonOf(bytesOf(seller), { maxTtlSec: { ...mostTtlSec, seller: 60 } })).toBe('too_long_lived')
  })

  test('a record that expires before it is signed is expired', () => {
    expect(reasonOf(at(nowMs, nowSec - 1))).toBe('expired')
  })

  test('what is accepted at one time was acceptable with the same record at every earlier time of its life', () => {
    fc.assert(
      fc.property(fc.nat(2_000), fc.nat(2_000), (early, late) => {
        const [first, second] = [Math.min(early, late), Math.max(early, late)]
        const accepted = reasonOf(bytesOf(seller), { nowSec: nowSec + second }) === 'ok'
        if (accepted) expect(reasonOf(bytesOf(seller), { nowSec: nowSec + first })).toBe('ok')
      }),
      { numRuns: 50 },
    )
  })
})
