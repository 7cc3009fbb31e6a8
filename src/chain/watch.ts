import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import type { Escrow, EventFilter, Head } from './escrow.ts'
import type { EscrowEvent } from './events.ts'

export interface EscrowWatch {
  escrow: Escrow
  /** The first block to read; from then on the watch keeps its place itself. */
  fromBlock: number
  pollMs: number
  filter?: EventFilter
  /** Blocks read at once; halved while an RPC refuses the range. */
  maxRange?: number
  /**
   * Gets new events in order, then the last block they cover, to be kept for the next start. The watch waits for it.
   * Called for ranges without events as well. What it throws ends the watch.
   */
  onEvents: (events: EscrowEvent[], throughBlock: number) => Promise<void> | void
  onHead?: (head: Head) => void
  /** An RPC failed; the watch tries again, more slowly each time. */
  onFailure?: (error: OpenSeedError) => void
  signal: AbortSignal
}

// A block that was read can be replaced by another at the same height, so the newest ones are read again.
const rereadBlocks = 4
const slowestPollMs = 60_000

/** Follows the escrow's events until the signal aborts, then resolves. */
export async function watchEscrow(watch: EscrowWatch): Promise<void> {
  const { pollMs, onFailure, signal } = watch
  const reader = openReader(watch)
  let pauseMs = pollMs
  while (!signal.aborted) {
    try {
      await reader.catchUp()
      pauseMs = pollMs
    } catch (thrown) {
      if (!isChainFailure(thrown)) throw thrown
      onFailure?.(thrown)
      pauseMs = Math.min(slowestPollMs, pauseMs * 2)
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}

function openReader({ escrow, fromBlock, filter, maxRange = 2000, onEvents, onHead, signal }: EscrowWatch) {
  let next = fromBlock
  let range = maxRange
  const handled = new Map<string, number>()

  const isNew = (event: EscrowEvent) => !handled.has(placeOf(event))

  async function readRange(from: number, to: number): Promise<EscrowEvent[]> {
    try {
      return await escrow.events(from, to, filter)
    } catch (thrown) {
      range = Math.max(1, Math.floor(range / 2))
      throw thrown
    }
  }

  async function catchUp(): Promise<void> {
    const head = await escrow.head()
    onHead?.(head)
    while (next <= head.number && !signal.aborted) {
      const from = Math.max(fromBlock, next - rereadBlocks)
      const to = Math.min(head.number, next + range - 1)
      const events = (await readRange(from, to)).filter(isNew)
      await onEvents(events, to)
      for (const event of events) handled.set(placeOf(event), event.block)
      next = to + 1
      range = Math.min(maxRange, range * 2)
      for (const [place, block] of handled) if (block < next - rereadBlocks) handled.delete(place)
    }
  }

  return { catchUp }
}

const placeOf = ({ blockHash, logIndex }: EscrowEvent) => `${blockHash}:${logIndex}`

const isChainFailure = (thrown: unknown): thrown is OpenSeedError =>
  thrown instanceof OpenSeedError && thrown.code.startsWith('chain_')
