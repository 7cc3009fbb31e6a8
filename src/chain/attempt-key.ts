import type { OutboxStore } from './outbox-store.ts'

/**
 * The key of the attempt that is running, succeeded, or is due. For calls that may be repeated once an attempt was
 * undone for good: on the chain an outdated claim is skipped and a refund counts once for its nonce, whoever sends it
 * how often.
 */
export async function attemptKey(store: Pick<OutboxStore, 'outboxFind'>, base: string): Promise<string> {
  for (let attempt = 0; ; attempt += 1) {
    const key = attempt === 0 ? base : `${base}:${attempt}`
    const row = await store.outboxFind({ key })
    const isOver = row?.status === 'reverted' || (row?.status === 'dropped' && row.raw !== null)
    if (!isOver) return key
  }
}
