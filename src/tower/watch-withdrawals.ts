/** Follows the escrow through every RPC by itself: one that reports a withdrawal is enough, whatever the others say. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import { openEscrow, type Escrow, type Head } from '../chain/escrow.ts'
import type { Rpc } from '../chain/rpc.ts'
import { watchEscrow } from '../chain/watch.ts'
import type { Guard } from './guard.ts'

export interface WatchParts {
  escrow: Escrow
  guard: Pick<Guard, 'look' | 'saw' | 'reorged'>
  /** older blocks are seen by looking at the channels */
  fromBlock: number
  pollMs: number
  /** The newest block of an RPC, by its place among the sources. */
  onHead: (source: number, head: Head) => void
  log: Log
}

export async function watchWithdrawals(parts: WatchParts, signal: AbortSignal): Promise<void> {
  await Promise.all(
    parts.escrow.rpc.sources.map((source, index) => watchSource(source, index, parts, signal)),
  )
}

async function watchSource(
  source: Rpc,
  index: number,
  parts: WatchParts,
  signal: AbortSignal,
): Promise<void> {
  const { guard, log, pollMs } = parts
  let next = parts.fromBlock + 1
  while (!signal.aborted) {
    try {
      await watchEscrow({
        escrow: openEscrow(source, parts.escrow.network),
        fromBlock: next,
        pollMs,
        signal,
        filter: { names: ['WithdrawInitiated'] },
        onHead(head) {
          parts.onHead(index, head)
          guard.saw(head.timestampSec)
        },
        onFailure: (err) => log.warn({ err, rpc: source.name }, 'the chain cannot be watched'),
        onReorg(since) {
          guard.reorged(since)
          guard.look()
        },
        onEvents(events, throughBlock) {
          guard.look(events.flatMap((event) => ('channelId' in event ? [event.channelId] : [])))
          next = throughBlock + 1
        },
      })
    } catch (err) {
      log.error({ err, rpc: source.name }, 'watching the chain was interrupted; it starts again')
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}
