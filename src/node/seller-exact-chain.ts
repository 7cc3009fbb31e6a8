/** What exact payments need of the chain, in the words of the seller's parts. */
import type { Escrow } from '../chain/escrow.ts'
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { Outbox } from '../chain/outbox.ts'
import { judgeTransfer, submitTransfer, transferKey } from '../chain/transfers.ts'
import type { ExactChain } from '../seller/exact-desk.ts'

export function openExactChain(
  escrow: Escrow,
  outbox: Outbox,
  outboxStore: Pick<OutboxStore, 'outboxFind' | 'outboxDone'>,
): ExactChain {
  return {
    judge: (payload, isSigned) => judgeTransfer(escrow, payload, isSigned),
    submit: (payload) => submitTransfer(escrow, outbox, payload),
    async giveUp({ authorization }) {
      const key = transferKey(authorization)
      const row = await outboxStore.outboxFind({ key })
      if (row === null || row.status === 'dropped') return true
      if (row.status !== 'intended') return false
      const result = JSON.stringify({ reason: 'given up' })
      await outboxStore.outboxDone({ key, status: 'dropped', block: null, result })
      return true
    },
  }
}
