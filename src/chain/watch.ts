import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
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
   * Called for ranges without events as well. What it throws ends the watch, unless the chain failed: then the same
   * events come again.
   */
  onEvents: (events: EscrowEvent[], throughBlock: number) => Promise<void> | void
  onHead?: (head: Head) => void
  /**
   * Blocks that were read are no longer on the chain: all from this one on are read again, and what their
   * transactions did may be undone. The watch waits for it; what it throws is as for `onEvents`.
   */
  onReorg?: (fromBlock: number) => Promise<void> | void
  /** How far back a place is looked for that was not given up, in blocks. */
  safeDepth?: number
  /** An RPC failed; the watch tries again, more slowly each time. */
  onFailure?: (error: OpenSeedError) => void
  signal: AbortSignal
}

// A block can be replaced between the reading of the head and that of its logs, so the newest ones are read again.
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

function openReader(watch: EscrowWatch) {
  const {
    escrow,
    fromBlock,
    filter,
    maxRange = 2000,
    safeDepth = 256,
    onEvents,
    onHead,
    onReorg,
    signal,
  } = watch
  let next = fromBlock
  let floor = fromBlock
  let range = maxRange
  const handled = new Map<string, number>()
  // Blocks that were the newest when they were read, oldest first.
  let marks: { number: number; hash: Hex }[] = []

  const isNew = (event: EscrowEvent) => !handled.has(placeOf(event))

  async function readRange(from: number, to: number): Promise<EscrowEvent[]> {
    try {
      return await escrow.events(from, to, filter)
    } catch (thrown) {
      range = Math.max(1, Math.floor(range / 2))
      throw thrown
    }
  }

  /** Goes back behind what the chain gave up. A chain that is shorter than what was read lags, or grows again. */
  async function goBack(head: Head): Promise<void> {
    const known = marks.filter(({ number }) => number <= head.number)
    const kept = [...known]
    for (let mark = kept.at(-1); mark !== undefined; mark = kept.at(-1)) {
      const hash = mark.number === head.number ? head.hash : await escrow.blockHash(mark.number)
      if (hash === mark.hash) break
      kept.pop()
    }
    if (kept.length === known.length) return
    const last = kept.at(-1)
    const since = Math.max(0, last === undefined ? head.number - safeDepth : last.number + 1)
    await onReorg?.(since)
    marks = kept
    next = Math.min(next, since)
    floor = next
    for (const [place, block] of handled) if (block >= next) handled.delete(place)
  }

  async function catchUp(): Promise<void> {
    const head = await escrow.head()
    onHead?.(head)
    await goBack(head)
    while (next <= head.number && !signal.aborted) {
      const from = Math.max(floor, next - rereadBlocks)
      const to = Math.min(head.number, next + range - 1)
      const events = (await readRange(from, to)).filter(isNew)
      await onEvents(events, to)
      for (const event of events) handled.set(placeOf(event), event.block)
      next = to + 1
      range = Math.min(maxRange, range * 2)
      for (const [place, block] of handled) if (block < next - rereadBlocks) handled.delete(place)
    }
    if (marks.at(-1)?.hash !== head.hash && next > head.number) {
      marks = marks.filter(({ number }) => number > head.number - safeDepth)
      if ((marks.at(-1)?.number ?? -1) < head.number) marks.push({ number: head.number, hash: head.hash })
    }
  }

  return { catchUp }
}

const placeOf = ({ blockHash, logIndex }: EscrowEvent) => `${blockHash}:${logIndex}`

const isChainFailure = (thrown: unknown): thrown is OpenSeedError =>
  thrown instanceof OpenSeedError && thrown.code.startsWith('chain_')
