/** Follows the escrow through every RPC by itself: one that reports a withdrawal is enough, whatever the others say. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import { openEscrow, type Escrow } from '../chain/escrow.ts'
import type { EscrowEvent } from '../chain/events.ts'
import type { Heads } from '../chain/heads.ts'
import type { Rpc } from '../chain/rpc.ts'
import { watchEscrow } from '../chain/watch.ts'
import type { ChannelBook } from '../seller/channel-book.ts'
import type { Settler } from '../seller/settle.ts'
import type { Hex } from '../wire/hex.ts'
import type { SellerChain } from './seller-chain.ts'

/** Blocks below this depth are taken to stay. */
export const safeDepth = 256

export interface SellerWatchParts {
  escrow: Escrow
  chain: SellerChain
  book: ChannelBook
  settler: Settler
  heads: Heads
  /** what the chain said up to this block is in the book */
  fromBlock: number
  pollMs: number
  /** how deep a deposit lies when it counts; 1: in the newest block */
  depositConfirmations: number
  log: Log
}

export async function watchChannels(parts: SellerWatchParts, signal: AbortSignal): Promise<void> {
  await Promise.all(parts.escrow.rpc.sources.map((source) => watchSource(source, parts, signal)))
}

/** A fault of the disk, or an answer that makes no sense, interrupts the watch; what was not booked is read again. */
async function watchSource(source: Rpc, parts: SellerWatchParts, signal: AbortSignal): Promise<void> {
  const { log, heads, chain, settler, pollMs } = parts
  const escrow = openEscrow(source, parts.escrow.network)
  const reader = openEventReader(escrow, parts)
  let next = parts.fromBlock + 1
  while (!signal.aborted) {
    try {
      await watchEscrow({
        escrow,
        fromBlock: next,
        pollMs,
        safeDepth,
        signal,
        filter: { names: ['Deposited', 'Claimed', 'Refunded', 'WithdrawInitiated', 'WithdrawFinalized'] },
        onHead: (head) => heads.saw(source.name, head),
        onFailure: (error) => {
          heads.saw(source.name, null)
          log.warn({ error, rpc: source.name }, 'the chain cannot be watched')
        },
        async onReorg(since) {
          log.warn({ rpc: source.name, block: since }, 'the chain gave blocks up; they are read again')
          chain.reorged(since)
          await reader.readAll()
          settler.wake()
        },
        async onEvents(events, throughBlock) {
          await reader.read(events, throughBlock)
          next = throughBlock + 1
        },
      })
    } catch (error) {
      heads.saw(source.name, null)
      log.error({ error, rpc: source.name }, 'watching the chain was interrupted; it starts again')
      await wait(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}

function openEventReader(escrow: Escrow, parts: SellerWatchParts) {
  const { book, chain, settler, log, depositConfirmations } = parts
  /** deposits that are not deep enough yet, by the block in which they will be */
  const young = new Map<Hex, number>()

  async function read(events: readonly EscrowEvent[], throughBlock: number): Promise<void> {
    const touched = new Set<Hex>()
    const withdrawn = new Set<Hex>()
    for (const event of events) {
      const id = 'channelId' in event ? event.channelId : null
      if (id === null || book.find(id) === undefined) continue
      touched.add(id)
      if (event.name === 'WithdrawInitiated') withdrawn.add(id)
      if (event.name === 'Deposited' && depositConfirmations > 1)
        young.set(id, event.block + depositConfirmations - 1)
    }
    for (const [id, block] of young) if (block <= throughBlock) touched.add(id)
    await adopt([...touched], withdrawn)
    for (const [id, block] of young) if (block <= throughBlock) young.delete(id)
  }

  async function adopt(ids: Hex[], withdrawn: ReadonlySet<Hex>): Promise<void> {
    if (ids.length === 0) return
    // What this RPC shows itself is not left to the others: they may be behind it.
    const [agreed, own] = await Promise.all([chain.readChannels(ids), escrow.channels(ids)])
    for (const [index, id] of ids.entries()) {
      const facts = agreed[index]
      const entry = book.find(id)
      if (entry === undefined || facts === undefined) continue
      const shown = own[index]
      const isAlone = facts.withdrawing === 0n && shown !== undefined && shown.withdrawAmount > 0n
      await book.adoptChain(
        entry,
        isAlone
          ? {
              ...facts,
              withdrawing: shown.withdrawAmount,
              withdrawInitiatedAtSec: shown.withdrawInitiatedAtSec,
            }
          : facts,
      )
      if (!withdrawn.has(id) || entry.ledger.withdrawing === 0n) continue
      log.warn({ channel: id }, 'the buyer withdraws; claiming what is charged')
      settler.wake()
    }
  }

  const readAll = () =>
    adopt(
      [...book.entries()].map(({ id }) => id),
      new Set(),
    )
  return { read, readAll }
}
