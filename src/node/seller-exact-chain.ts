/** What exact payments need of the chain, in the words of the seller's parts. */
import type { Escrow } from '../chain/escrow.ts'
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { Outbox } from '../chain/outbox.ts'
import { findSpent, judgeTransfer, submitTransfer, transferKey } from '../chain/transfers.ts'
import type { ExactChain } from '../seller/exact-desk.ts'

export function openExactChain(
  escrow: Escrow,
  outbox: Outbox,
  outboxStore: Pick<OutboxStore, 'outboxFind' | 'outboxDone'>,
  depositConfirmations: number,
): ExactChain {
  return {
    judge: (payload, isSigned) => judgeTransfer(escrow, payload, isSigned),
    submit: (payload) => submitTransfer(escrow, outbox, payload, depositConfirmations),
    async giveUp({ authorization }) {
      const key = transferKey(authorization)
      const row = await outboxStore.outboxFind({ key })
      if (row !== null && row.status !== 'dropped') {
        if (row.status !== 'intended') return false
        const result = JSON.stringify({ reason: 'given up' })
        await outboxStore.outboxDone({ key, status: 'dropped', block: null, result })
      }
      // Anyone may have sent what the payer signed: then the money arrived, and is owed an answer.
      return (await findSpent(escrow, authorization))?.kind !== 'paid'
    },
  }
}
