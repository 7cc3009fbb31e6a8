import { randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeKeyOf } from '../../wire/node-key.ts'
import { countersign, mostSignatureBytes, type SignedBinding } from '../../wire/peer-binding.ts'
import { dhtKey, encodeBindingValue, judgeValue } from './dht-records.ts'

const now = 1_800_000_000_000
const key = nodeKeyOf(randomBytes(32))
const binding: SignedBinding = {
  peer: key.peerId,
  payTo: '0x1111111111111111111111111111111111111111',
  notBeforeSec: now / 1000 - 60,
  notAfterSec: now / 1000 + 86_400,
  seq: now,
  signature: `0x${'22'.repeat(65)}`,
}
const place = dhtKey('bind', key.peerId)

test('a binding is held under the node that signed it, and under no other', () => {
  const value = encodeBindingValue(countersign(key, binding))
  expect(judgeValue(place, value, now)).toMatchObject({ ok: true, kind: 'bind', seq: now, document: binding })
  const other = nodeKeyOf(randomBytes(32))
  const stolen = encodeBindingValue(countersign(other, binding))
  expect(judgeValue(place, stolen, now)).toEqual({ ok: false, reason: 'forged' })
  expect(judgeValue(place, encodeBindingValue(binding), now)).toEqual({ ok: false, reason: 'forged' })
  expect(judgeValue(dhtKey('bind', other.peerId), value, now)).toEqual({ ok: false, reason: 'wrong_peer' })
})

test('whatever a wallet may sign with, its binding is small enough to be held', () => {
  const longest = { ...binding, signature: `0x${'ff'.repeat(mostSignatureBytes)}` as const }
  expect(judgeValue(place, encodeBindingValue(countersign(key, longest)), now)).toMatchObject({ ok: true })
})

test('a binding out of its time is refused', () => {
  const judge = (change: Partial<SignedBinding>) =>
    judgeValue(place, encodeBindingValue(countersign(key, { ...binding, ...change })), now)
  expect(judge({ notAfterSec: now / 1000 - 200 })).toEqual({ ok: false, reason: 'expired' })
  expect(judge({ notBeforeSec: now / 1000 + 200 })).toEqual({ ok: false, reason: 'future' })
  expect(judge({ seq: now + 200_000 })).toEqual({ ok: false, reason: 'future' })
  expect(judge({ notAfterSec: now / 1000 + 91 * 86_400 })).toEqual({ ok: false, reason: 'too_long_lived' })
})

test('whatever bytes stand under whatever key, the judgement is a refusal and nothing is thrown', () => {
  const keys = fc.oneof(fc.constant(place), fc.uint8Array({ maxLength: 80 }))
  fc.assert(
    fc.property(
      keys,
      fc.oneof(
        fc.uint8Array({ maxLength: 3_000 }),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (at, value) => {
        expect(judgeValue(at, value, now).ok).toBe(false)
      },
    ),
    { numRuns: 200 },
  )
})
