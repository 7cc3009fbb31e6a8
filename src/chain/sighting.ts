/** What the RPCs see of a transaction, and what that comes to. */
import { OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { TxLog } from './events.ts'
import type { SignedRow } from './outbox-store.ts'
import { resultOf, type Rpc } from './rpc.ts'

/** One RPC's view of a transaction with its copies. */
export interface Sighting {
  /** Of whichever copy was mined. */
  receipt: { hash: Hex; succeeded: boolean; block: number; logs: TxLog[] } | null
  head: number
  /** How many nonces of the account the newest block has used. */
  used: number
}

/**
 * `mined`: deep enough, as enough RPCs say. `too-young`: some see it mined. `nonce-used`: another transaction has its
 * nonce. `unseen`: none of that; `isNext` when every earlier nonce is mined, so that nothing but its fee holds it up.
 */
export type Sight =
  | { kind: 'mined'; hash: Hex; succeeded: boolean; block: number; logs: TxLog[] }
  | { kind: 'too-young' | 'nonce-used' }
  | { kind: 'unseen'; isNext: boolean }

/** Pure: what the sightings of several RPCs come to when `needed` of them must agree. */
export function judgeSightings(
  sightings: readonly Sighting[],
  { nonce, confirmations, needed }: { nonce: number; confirmations: number; needed: number },
): Sight {
  const receipts = sightings.flatMap(({ receipt, head }) => (receipt === null ? [] : [{ ...receipt, head }]))
  for (const { head: _, ...receipt } of receipts) {
    const { hash, succeeded, block } = receipt
    const backing = receipts.filter(
      (other) =>
        other.hash === hash &&
        other.succeeded === succeeded &&
        other.block === block &&
        isSame(other.logs, receipt.logs) &&
        other.head - block + 1 >= confirmations,
    )
    if (backing.length >= needed) return { kind: 'mined', ...receipt }
  }
  if (receipts.length > 0) return { kind: 'too-young' }
  if (sightings.filter(({ used }) => used > nonce).length >= needed) return { kind: 'nonce-used' }
  return { kind: 'unseen', isNext: sightings.some(({ used }) => used === nonce) }
}

// Who is paid, and how much, stands in the logs alone.
function isSame(some: readonly TxLog[], others: readonly TxLog[]): boolean {
  const textOf = ({ address, topics, data }: TxLog) => [address, ...topics, data].join().toLowerCase()
  return (
    some.length === others.length &&
    some.every((log, index) => textOf(log) === textOf(others[index] as TxLog))
  )
}

/** Asks one RPC. Throws what `Rpc` throws; `chain_unavailable` as well for an answer that makes no sense. */
export async function sightingOf(
  source: Rpc,
  { address, row, signal }: { address: Address; row: SignedRow; signal: AbortSignal | undefined },
): Promise<Sighting> {
  const replies = await source.batch(
    [
      ...row.copies.map(({ hash }) => ({ method: 'eth_getTransactionReceipt', params: [hash] })),
      { method: 'eth_blockNumber' },
      { method: 'eth_getTransactionCount', params: [address, 'latest'] },
    ],
    signal,
  )
  const receipts = replies.slice(0, row.copies.length)
  const [head, used] = replies.slice(row.copies.length)
  const found = receipts.map((reply) => readReceipt(source, resultOf(reply, 'eth_getTransactionReceipt')))
  const at = found.findIndex((receipt) => receipt !== null)
  const receipt = found[at]
  const copy = row.copies[at]
  return {
    receipt: receipt && copy ? { hash: copy.hash, ...receipt } : null,
    head: Number(resultOf(head, 'eth_blockNumber')),
    used: Number(resultOf(used, 'eth_getTransactionCount')),
  }
}

function readReceipt(source: Rpc, input: unknown): Omit<NonNullable<Sighting['receipt']>, 'hash'> | null {
  if (input === null) return null
  const { status, blockNumber, logs } = input as { status?: unknown; blockNumber?: unknown; logs?: unknown }
  if (typeof status !== 'string' || typeof blockNumber !== 'string' || !Array.isArray(logs))
    throw new OpenSeedError('chain_unavailable', { message: `${source.name}: a receipt makes no sense.` })
  return {
    succeeded: Number(status) === 1,
    block: Number(blockNumber),
    logs: (logs as TxLog[]).map(({ address, topics, data }) => ({ address, topics, data })),
  }
}
