import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { sellerDraft } from '../../test/fixtures/records.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import { canonicalEscrow } from '../wire/network.ts'
import { bindingCovers, bindingHash, verifyBinding } from '../wire/peer-binding.ts'
import { encodeRecord, signRecord } from '../wire/record.ts'
import { validateRecord } from '../wire/validate-record.ts'
import { openBinding, openNodeKey, rotateNodeKey } from './identity.ts'

const nowMs = 1_800_000_000_000
const dayMs = 86_400_000
const digests = openDigests({ chainId: 8_453, escrow: canonicalEscrow })
const walletKey = `0x${'07'.repeat(32)}` as const
const payTo = curve.addressOf(walletKey)
const sign = (digest: Hex) => curve.sign(digest, walletKey)

function temporaryHome() {
  const folder = mkdtempSync(join(tmpdir(), 'openseed-identity-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

test('the node key is made once, readable by its owner only, and read again afterwards', () => {
  using home = temporaryHome()
  const folder = join(home.folder, 'a', 'b')
  const key = openNodeKey(folder)
  expect(openNodeKey(folder).peerId).toBe(key.peerId)
  expect(readFileSync(join(folder, 'node.key'))).toHaveLength(32)
  if (process.platform !== 'win32') expect(statSync(join(folder, 'node.key')).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['node.key'])
})

test('two homes are two nodes', () => {
  using one = temporaryHome()
  using two = temporaryHome()
  expect(openNodeKey(one.folder).peerId).not.toBe(openNodeKey(two.folder).peerId)
})

test('a damaged key file is reported and not replaced', () => {
  using home = temporaryHome()
  writeFileSync(join(home.folder, 'node.key'), 'short')
  expect(() => openNodeKey(home.folder)).toThrow('a node key has 32 bytes, this file has 5')
  expect(() => rotateNodeKey(home.folder)).toThrow('a node key has 32 bytes, this file has 5')
  expect(readFileSync(join(home.folder, 'node.key'), 'utf8')).toBe('short')
})

test('rotation gives a new key and keeps every old one', () => {
  using home = temporaryHome()
  const first = openNodeKey(home.folder)
  const second = rotateNodeKey(home.folder)
  const third = rotateNodeKey(home.folder)
  expect(new Set([first.peerId, second.peerId, third.peerId]).size).toBe(3)
  expect(openNodeKey(home.folder).peerId).toBe(third.peerId)
  expect(readFileSync(join(home.folder, 'node.key.1'))).toEqual(Buffer.from(first.seed))
  expect(readFileSync(join(home.folder, 'node.key.2'))).toEqual(Buffer.from(second.seed))
  expect(readdirSync(home.folder)).toHaveLength(3)
})

test('after a rotation the wallet vouches for the new key with a higher sequence, and records follow', async () => {
  using home = temporaryHome()
  const old = openNodeKey(home.folder)
  const before = await openBinding(home.folder, { peer: old.peerId, payTo, digests, nowMs, sign })
  const key = rotateNodeKey(home.folder)
  // The clock even went back meanwhile.
  const after = await openBinding(home.folder, {
    peer: key.peerId,
    payTo,
    digests,
    nowMs: nowMs - 5_000,
    sign,
  })
  expect(after.seq).toBeGreaterThan(before.seq)
  const nowSec = nowMs / 1_000
  expect(await verifyBinding(after, { digests, curve, nowSec })).toMatchObject({ ok: true })

  const draft = sellerDraft(nowMs, { payTo, bindingHash: bindingHash(digests, after) })
  const record = signRecord(key, draft)
  const rules = { nowSec, lastSeq: null, peer: key.peerId }
  expect(validateRecord(encodeRecord(record), rules).ok).toBe(true)
  expect(bindingCovers(digests, after, record)).toBe(true)
  const stale = signRecord(old, draft)
  expect(validateRecord(encodeRecord(stale), rules)).toEqual({ ok: false, reason: 'wrong_peer' })
  expect(bindingCovers(digests, after, stale)).toBe(false)
})

test('the wallet signs once, and again only when something changed or the binding runs out', async () => {
  using home = temporaryHome()
  const { peerId: peer } = openNodeKey(home.folder)
  const asked = vi.fn<typeof sign>(sign)
  const needs = { peer, payTo, digests, nowMs, sign: asked }
  const first = await openBinding(home.folder, needs)
  expect(await openBinding(home.folder, { ...needs, nowMs: nowMs + 59 * dayMs })).toEqual(first)
  expect(asked).toHaveBeenCalledTimes(1)

  const renewed = await openBinding(home.folder, { ...needs, nowMs: nowMs + 60 * dayMs })
  const network = openDigests({ chainId: 84_532, escrow: canonicalEscrow })
  const moved = await openBinding(home.folder, { ...needs, nowMs: nowMs + 60 * dayMs, digests: network })
  const paid = await openBinding(home.folder, {
    ...needs,
    nowMs: nowMs + 60 * dayMs,
    payTo: `0x${'99'.repeat(20)}`,
  })
  expect(asked).toHaveBeenCalledTimes(4)
  const seqs = [first.seq, renewed.seq, moved.seq, paid.seq]
  expect(seqs).toEqual([...new Set(seqs)].toSorted((a, b) => a - b))
})

test('a damaged binding file costs one more signature', async () => {
  using home = temporaryHome()
  const { peerId: peer } = openNodeKey(home.folder)
  writeFileSync(join(home.folder, 'node.binding.json'), '{')
  const binding = await openBinding(home.folder, { peer, payTo, digests, nowMs, sign })
  expect(await verifyBinding(binding, { digests, curve, nowSec: nowMs / 1_000 })).toMatchObject({ ok: true })
})
