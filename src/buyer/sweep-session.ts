/** One sweep from the first look to the last step, as commands drive it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChannelConfig } from '../wire/channel.ts'
import { findChannels, type ScanOptions, type Scanned, type ScanParts } from './sweep-scan.ts'
import { placeOf, planAll, sweepOne, type SweepItem, type SweepResult } from './sweep.ts'

export interface Sweep {
  /** Looks for channels that the store does not know. Throws `store_…`. */
  find(options: ScanOptions, signal: AbortSignal): Promise<Scanned>
  /** What there is to do. Waits a little for sellers that are looked for. Throws `chain_…`, `store_…`. */
  plan(others: readonly ChannelConfig[], options: SweepOptions, signal: AbortSignal): Promise<SweepItem[]>
  run(item: SweepItem, options: SweepOptions, signal: AbortSignal): Promise<SweepResult>
}

export interface SweepOptions {
  /** Whether channels that other programs made with this wallet are emptied too. */
  foreign: boolean
}

const sellersWithinMs = 5000
const lookEveryMs = 100

export function openSweep(parts: ScanParts): Sweep {
  const isPlaced = () =>
    parts.book
      .all()
      .every((channel) => channel.state === 'closed' || channel.rev === 0 || placeOf(channel, parts) !== null)

  return {
    find: (options, signal) => findChannels(parts, options, signal),
    async plan(others, options, signal) {
      const lateAtMs = performance.now() + sellersWithinMs
      while (!isPlaced() && parts.isLooking() && performance.now() < lateAtMs)
        await sleep(lookEveryMs, undefined, { signal })
      return planAll(parts, others, options)
    },
    run: (item, options, signal) => sweepOne(item, parts, options, signal),
  }
}
