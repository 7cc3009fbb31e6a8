/** Many bytes over each way to a seller, in turn, and what they cost the seller and whoever passes them on. */
import type { SellerClient } from '../src/net/seller-client.ts'
import type { Child } from './child.ts'
import { get } from './p2p-requests.ts'
import type { BulkPath, BulkResult } from './results.ts'
import { median } from './statistics.ts'

export interface BulkWay {
  path: BulkPath
  client: SellerClient
  /** Who passes the bytes on. */
  between: Child | null
}

interface Sample {
  mbPerSec: number
  sellerMbPerCpuSec: number
  betweenMbPerCpuSec: number
}

export const bulkMiB = 64
const bulkBytes = bulkMiB * 1024 * 1024

/** The first way is what the others are compared with, and `piped` what `relayed` is. */
export async function measureBulk(
  ways: readonly BulkWay[],
  { seller, samples }: { seller: Child; samples: number },
): Promise<BulkResult[]> {
  const taken = ways.map((): Sample[] => [])
  // The first of each is thrown away: with it code is compiled, and windows and buffers grow.
  for (let at = 0; at <= samples; at += 1) {
    for (const [index, way] of ways.entries()) {
      const sample = await takeSample(way, seller)
      if (at > 0) taken[index]!.push(sample)
    }
  }
  const against = (index: number, base: number, of: keyof Sample) =>
    median(taken[index]!.map((sample, at) => sample[of] / taken[base]![at]![of]))
  const piped = ways.findIndex(({ path }) => path === 'piped')
  return ways.map(({ path, between }, index) => {
    const own = (of: keyof Sample) => taken[index]!.map((sample) => sample[of])
    return {
      path,
      mbPerSec: median(own('mbPerSec')),
      toPlain: against(index, 0, 'mbPerSec'),
      sellerMbPerCpuSec: median(own('sellerMbPerCpuSec')),
      sellerToPlain: against(index, 0, 'sellerMbPerCpuSec'),
      between: between && {
        mbPerCpuSec: median(own('betweenMbPerCpuSec')),
        lowest: Math.min(...own('betweenMbPerCpuSec')),
        highest: Math.max(...own('betweenMbPerCpuSec')),
        toPiped: against(index, piped, 'betweenMbPerCpuSec'),
      },
    }
  })
}

async function takeSample({ client, between }: BulkWay, seller: Child): Promise<Sample> {
  const before = await usageOf(seller, between)
  const startedMs = performance.now()
  let received = 0
  for await (const chunk of await get(client, `/bytes?count=${bulkBytes}`))
    received += (chunk as Buffer).length
  const tookMs = performance.now() - startedMs
  if (received !== bulkBytes) throw new Error(`${received} of ${bulkBytes} bytes arrived`)
  const after = await usageOf(seller, between)
  return {
    mbPerSec: bulkBytes / 1e3 / tookMs,
    // Bytes a microsecond are megabytes a second.
    sellerMbPerCpuSec: bulkBytes / (after.sellerUs - before.sellerUs),
    betweenMbPerCpuSec: bulkBytes / (after.betweenUs - before.betweenUs),
  }
}

async function usageOf(seller: Child, between: Child | null) {
  return {
    sellerUs: (await seller.usage()).cpuUs,
    betweenUs: between === null ? 0 : (await between.usage()).cpuUs,
  }
}
