import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
import { draftBinding, findDraft, openBinding, storeBinding } from './binding.ts'
import { openNodeKey, rotateNodeKey } from './identity.ts'

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

test('a wallet that signs elsewhere is asked once, and its word is good to its last second', async () => {
  using home = temporaryHome()
  const { peerId: peer } = openNodeKey(home.folder)
  const needs = { peer, payTo, digests, nowMs, sign: null }
  await expect(openBinding(home.folder, needs)).rejects.toMatchObject({
    code: 'binding_missing',
    hint: expect.stringContaining('openseed wallet bind') as string,
  })
  const draft = draftBinding(home.folder, needs)
  expect(draftBinding(home.folder, { ...needs, nowMs: nowMs + dayMs })).toEqual(draft)
  expect(findDraft(home.folder, needs)).toEqual(draft)

  const signed = { ...draft, signature: sign(bindingHash(digests, draft)) }
  storeBinding(home.folder, digests, signed)
  expect(findDraft(home.folder, needs)).toBeNull()
  expect(await openBinding(home.folder, { ...needs, nowMs: nowMs + 90 * dayMs - 1 })).toEqual(signed)
  await expect(openBinding(home.folder, { ...needs, nowMs: nowMs + 90 * dayMs })).rejects.toThrow(
    `ran out on ${new Date(nowMs + 90 * dayMs).toISOString().slice(0, 10)}`,
  )
})

test('what was drafted for another node, wallet or network is drafted anew', () => {
  using home = temporaryHome()
  const { peerId: peer } = openNodeKey(home.folder)
  const needs = { peer, payTo, digests, nowMs }
  draftBinding(home.folder, needs)
  const key = rotateNodeKey(home.folder)
  expect(findDraft(home.folder, { ...needs, peer: key.peerId })).toBeNull()
  expect(draftBinding(home.folder, { ...needs, peer: key.peerId })).toMatchObject({ peer: key.peerId })
  const network = openDigests({ chainId: 84_532, escrow: canonicalEscrow })
  expect(findDraft(home.folder, { ...needs, peer: key.peerId, digests: network })).toBeNull()
})
