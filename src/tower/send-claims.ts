/** Sends claims as the seller signed them, many in one transaction, each to the chain once. */
import { attemptKey } from '../chain/attempt-key.ts'
import type { Escrow } from '../chain/escrow.ts'
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { Outbox } from '../chain/outbox.ts'
import type { TowerClaimRow } from '../store/tower-operations.ts'
import { keccak256 } from '../wire/keccak.ts'

export interface ClaimSender {
  /**
   * Gives those that the chain refuses; the others are mined. Throws when an outcome is not known yet, or when there is
   * nothing to pay gas with.
   */
  send(rows: readonly TowerClaimRow[]): Promise<TowerClaimRow[]>
  /** Brings what was sent earlier, or undone by a reorg, to its outcome. Throws while one stays unknown. */
  reconcile(): Promise<void>
  /** The chain gave up what it had from this block on. */
  reorged(fromBlock: number): void
}

const claimKind = 'claim'
/** Some 3.1 million gas. */
const mostRows = 100

export function openClaimSender(
  escrow: Escrow,
  outbox: Outbox,
  outboxStore: Pick<OutboxStore, 'outboxFind'>,
): ClaimSender {
  const { calls } = escrow

  async function send(rows: readonly TowerClaimRow[]): Promise<TowerClaimRow[]> {
    const refused: TowerClaimRow[] = []
    for (let at = 0; at < rows.length; at += mostRows)
      refused.push(...(await sendBatch(rows.slice(at, at + mostRows))))
    return refused
  }

  // One bad row undoes the whole batch: halve it until the bad one stands alone.
  async function sendBatch(rows: readonly TowerClaimRow[]): Promise<TowerClaimRow[]> {
    if (await attempt(rows)) return []
    if (rows.length <= 1) return [...rows]
    const half = Math.ceil(rows.length / 2)
    return [...(await sendBatch(rows.slice(0, half))), ...(await sendBatch(rows.slice(half)))]
  }

  async function attempt(rows: readonly TowerClaimRow[]): Promise<boolean> {
    const identity = rows.map(({ channelId, totalClaimed }) => `${channelId}:${totalClaimed}`).join()
    const key = await attemptKey(outboxStore, `claim:${keccak256(identity)}`)
    // Mined before, and yet the chain says that it is due: a reorg may have undone it.
    const again = await outbox.confirmAgain(key)
    if (again !== null) return again.status === 'confirmed'
    const claims = rows.map((row) =>
      calls.claimWithSignature([{ ...row, signature: row.voucher }], row.claim),
    )
    const outcome = await outbox.send({
      key,
      kind: claimKind,
      ...(claims.length === 1 && claims[0] !== undefined ? claims[0] : calls.multicall(claims)),
    })
    return outcome.status === 'confirmed'
  }

  return {
    send,
    reconcile: () => outbox.reconcile(claimKind),
    reorged: (fromBlock) => outbox.reorged(fromBlock),
  }
}
