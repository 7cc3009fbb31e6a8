import { TypedDataEncoder } from 'ethers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { hasCode } from '../base/errors.ts'
import { curve } from './curve.ts'
import { openDigests } from './digests.ts'
import { bytesToHex } from './hex.ts'
import { canonicalEscrow } from './network.ts'
import {
  bindingCovers,
  bindingHash,
  countersign,
  encodeBinding,
  isCountersigned,
  mostBindingSec,
  parseBinding,
  signBinding,
  verifyBinding,
  type BindingRules,
  type PeerBinding,
  type SignedBinding,
} from './peer-binding.ts'
import { peerIdBytes, peerIdOf } from './peer-id.ts'
import { signRecord } from './record.ts'

const chainId = 8_453
const digests = openDigests({ chainId, escrow: canonicalEscrow })
const walletKey = `0x${'07'.repeat(32)}` as const
const wallet = curve.addressOf(walletKey)
const nowSec = 1_800_000_000
const rules: BindingRules = { digests, curve, nowSec }
const binding: PeerBinding = {
  peer: nodeKey(1).peerId,
  payTo: wallet,
  notBeforeSec: nowSec,
  notAfterSec: nowSec + mostBindingSec,
  seq: 1,
}
const signed = signBinding(digests, curve, walletKey, binding)
const reasonOf = async (input: SignedBinding, changes: Partial<BindingRules> = {}) => {
  const verdict = await verifyBinding(input, { ...rules, ...changes })
  return verdict.ok ? 'ok' : verdict.reason
}
const resigned = (changes: Partial<PeerBinding>) =>
  signBinding(digests, curve, walletKey, { ...binding, ...changes })

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const anyBinding: fc.Arbitrary<PeerBinding> = fc.record({
  peer: bytesOf(32).map(peerIdOf),
  payTo: bytesOf(20).map(bytesToHex),
  notBeforeSec: fc.integer({ min: 0, max: 2 ** 40 - 1 }),
  notAfterSec: fc.integer({ min: 0, max: 2 ** 40 - 1 }),
  seq: fc.maxSafeNat(),
})

test('the digest of a binding is the one ethers computes', () => {
  const types = {
    PeerBinding: [
      { name: 'peerId', type: 'bytes' },
      { name: 'payTo', type: 'address' },
      { name: 'notBefore', type: 'uint64' },
      { name: 'notAfter', type: 'uint64' },
      { name: 'seq', type: 'uint64' },
    ],
  }
  const domain = { name: 'OpenSeed', version: '1', chainId, verifyingContract: canonicalEscrow }
  fc.assert(
    fc.property(anyBinding, (binding) => {
      const { peer, payTo, notBeforeSec, notAfterSec, seq } = binding
      const message = {
        peerId: peerIdBytes(peer),
        payTo,
        notBefore: notBeforeSec,
        notAfter: notAfterSec,
        seq,
      }
      expect(bindingHash(digests, binding)).toBe(TypedDataEncoder.hash(domain, types, message))
    }),
    { numRuns: 25 },
  )
})

test('a binding reads back as it was written', () => {
  fc.assert(
    fc.property(anyBinding, bytesOf(65).map(bytesToHex), (binding, signature) => {
      for (const signed of [{ ...binding, signature }, countersign(nodeKey(1), { ...binding, signature })])
        expect(parseBinding(JSON.parse(JSON.stringify(encodeBinding(signed))))).toEqual(signed)
    }),
    { numRuns: 50 },
  )
})

test('only the node that a binding names can countersign it, and only as it stands', () => {
  const key = nodeKey(1)
  const own = countersign(key, { ...signed, peer: key.peerId })
  expect(isCountersigned(own)).toBe(true)
  expect(isCountersigned({ ...own, seq: own.seq + 1 })).toBe(false)
  expect(isCountersigned({ ...own, peer: nodeKey(2).peerId })).toBe(false)
  expect(isCountersigned(countersign(nodeKey(2), own))).toBe(false)
  expect(isCountersigned(signed)).toBe(false)
  expect(bindingHash(digests, own)).toBe(bindingHash(digests, { ...signed, peer: key.peerId }))
})

test('parsing arbitrary JSON gives a binding or invalid_message and nothing else', () => {
  const good = encodeBinding(signed)
  const damaged = fc
    .record({ name: fc.constantFrom(...Object.keys(good)), value: fc.anything() })
    .map(({ name, value }) => ({ ...good, [name]: value }))
  fc.assert(
    fc.property(fc.oneof(fc.anything(), damaged), (input) => {
      try {
        parseBinding(input)
      } catch (thrown) {
        expect(hasCode(thrown, 'invalid_message') || thrown).toBe(true)
      }
    }),
  )
  expect(() => parseBinding({ ...good, signature: `0x${'00'.repeat(897)}` })).toThrow('at most 896 bytes')
})

test('the wallet that is paid must have signed', async () => {
  expect(await verifyBinding(signed, rules)).toEqual({ ok: true, hash: bindingHash(digests, binding) })
  expect(await reasonOf({ ...signed, payTo: `0x${'99'.repeat(20)}` })).toBe('forged')
  expect(await reasonOf({ ...signed, peer: nodeKey(2).peerId })).toBe('forged')
  expect(await reasonOf({ ...signed, seq: 2 })).toBe('forged')
  expect(await reasonOf({ ...signed, signature: '0x' })).toBe('forged')
})

test('a binding for one network is worth nothing on another', async () => {
  const other = openDigests({ chainId: 84_532, escrow: canonicalEscrow })
  expect(await reasonOf(signed, { digests: other })).toBe('forged')
})

test('a binding is valid within its time and the skew of clocks, and for at most 90 days', async () => {
  const end = binding.notAfterSec
  expect(await reasonOf(signed, { nowSec: nowSec - 120 })).toBe('ok')
  expect(await reasonOf(signed, { nowSec: nowSec - 121 })).toBe('future')
  expect(await reasonOf(signed, { nowSec: end + 119 })).toBe('ok')
  expect(await reasonOf(signed, { nowSec: end + 120 })).toBe('expired')
  expect(await reasonOf(resigned({ notAfterSec: end + 1 }))).toBe('too_long_lived')
  expect(await reasonOf(resigned({ notAfterSec: nowSec }))).toBe('expired')
})

test('a contract wallet is asked, with its address and the digest, and only when no key fits', async () => {
  const asked: unknown[] = []
  const contract = { ...signed, payTo: `0x${'c0'.repeat(20)}` as const, signature: '0xc0ffee' as const }
  const answer =
    (isValid: boolean) =>
    (...question: unknown[]) => {
      asked.push(question)
      return Promise.resolve(isValid)
    }
  expect(await reasonOf(contract, { isValidSignature: answer(true) })).toBe('ok')
  expect(await reasonOf(contract, { isValidSignature: answer(false) })).toBe('forged')
  expect(await reasonOf(contract)).toBe('forged')
  const question = [contract.payTo, bindingHash(digests, contract), '0xc0ffee']
  expect(asked).toEqual([question, question])
  expect(await reasonOf(signed, { isValidSignature: answer(false) })).toBe('ok')
  expect(asked).toHaveLength(2)
})

test('a binding covers only the records of its node and wallet that name it', () => {
  const draft = sellerDraft(nowSec * 1_000, { payTo: wallet, bindingHash: bindingHash(digests, binding) })
  const other = { ...draft.body, payTo: `0x${'99'.repeat(20)}` as const }
  expect(bindingCovers(digests, binding, signRecord(nodeKey(1), draft))).toBe(true)
  expect(bindingCovers(digests, binding, signRecord(nodeKey(2), draft))).toBe(false)
  expect(bindingCovers(digests, binding, signRecord(nodeKey(1), { ...draft, body: other }))).toBe(false)
  expect(bindingCovers(digests, { ...binding, seq: 2 }, signRecord(nodeKey(1), draft))).toBe(false)
})
