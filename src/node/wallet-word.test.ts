import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { nodeKey } from '../../test/fixtures/records.ts'
import type { Log } from '../base/log.ts'
import { silentLog } from '../base/log.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import { canonicalEscrow } from '../wire/network.ts'
import { bindingHash, isCountersigned } from '../wire/peer-binding.ts'
import { draftBinding, storeBinding } from './binding.ts'
import { openWalletWord } from './wallet-word.ts'

const dayMs = 86_400_000
const startMs = 1_800_000_000_000
const digests = openDigests({ chainId: 8_453, escrow: canonicalEscrow })
const walletKey = `0x${'07'.repeat(32)}` as const
const payTo = curve.addressOf(walletKey)
const node = nodeKey(1)

function openWord(key: typeof walletKey | null) {
  const folder = mkdtempSync(join(tmpdir(), 'openseed-word-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const clock = { nowMs: startMs }
  const warnings: unknown[] = []
  const log: Log = { ...silentLog, warn: (...said: unknown[]) => void warnings.push(said) }
  const word = openWalletWord(folder, { node, payTo, digests, key, now: () => clock.nowMs, log })
  return { folder, clock, warnings, word }
}

test('where the key is here the word is renewed long before it ends, with the signature of the node', async () => {
  const { clock, warnings, word } = openWord(walletKey)
  const first = await word()
  expect(isCountersigned(first.signed)).toBe(true)
  expect(first.hash).toBe(bindingHash(digests, first.signed))
  clock.nowMs += 61 * dayMs
  expect((await word()).signed.seq).toBeGreaterThan(first.signed.seq)
  expect(warnings).toEqual([])
})

test('where it is elsewhere one is warned two weeks before the end, once a day, and it ends with an error', async () => {
  const { folder, clock, warnings, word } = openWord(null)
  await expect(word()).rejects.toMatchObject({ code: 'binding_missing' })
  const draft = draftBinding(folder, { peer: node.peerId, payTo, digests, nowMs: startMs })
  const signature = curve.sign(bindingHash(digests, draft), walletKey)
  storeBinding(folder, digests, { ...draft, signature })
  clock.nowMs = startMs + 76 * dayMs
  await word()
  expect(warnings).toEqual([])
  clock.nowMs += 1000
  await word()
  await word()
  expect(warnings).toEqual([
    [{ wallet: payTo, until: '2027-04-15' }, expect.stringContaining('openseed wallet bind')],
  ])
  clock.nowMs += dayMs
  await word()
  expect(warnings).toHaveLength(2)
  clock.nowMs = startMs + 90 * dayMs
  await expect(word()).rejects.toMatchObject({ code: 'binding_missing' })
})
