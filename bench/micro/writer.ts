import { join } from 'node:path'
import { openWriter } from '../../src/store/writer.ts'
import type { SellerChannelRow } from '../../src/store/rows.ts'
import type { MicroResults } from '../results.ts'

const row: SellerChannelRow = {
  id: `0x${'07'.repeat(32)}`,
  config: {
    payer: `0x${'01'.repeat(20)}`,
    payerAuthorizer: `0x${'02'.repeat(20)}`,
    receiver: `0x${'03'.repeat(20)}`,
    receiverAuthorizer: `0x${'04'.repeat(20)}`,
    token: `0x${'05'.repeat(20)}`,
    withdrawDelay: 900,
    salt: `0x${'06'.repeat(32)}`,
  },
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
  rev: 0,
}

/** Durable writes of a channel's row, as many waiting at a time as requests would. */
export async function measureWriter(folder: string, milliseconds: number): Promise<MicroResults['writer']> {
  await using store = await openWriter({
    path: join(folder, 'writer.db'),
    schema: 'seller',
    onFatal: (error) => {
      throw error
    },
  })
  let { rev } = row
  const results: MicroResults['writer'] = []
  for (const inFlight of [1, 16, 64, 256]) {
    const before = store.stats()
    const startedAtMs = performance.now()
    const lane = async () => {
      while (performance.now() < startedAtMs + milliseconds) {
        await store.run('saveChannel', { channel: { ...row, rev: (rev += 1) } })
      }
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    const elapsedMs = performance.now() - startedAtMs
    const ops = store.stats().ops - before.ops
    const groups = store.stats().groups - before.groups
    results.push({ inFlight, opsPerSec: (ops / elapsedMs) * 1000, opsPerGroup: ops / groups })
  }
  return results
}
