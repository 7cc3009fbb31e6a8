/** The database's outbox rows as the chain layer wants them: both layers stay ignorant of each other. */
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { BuyerOperations, SellerOperations, TowerOperations } from '../store/operations.ts'
import type { Writer } from '../store/writer.ts'

export function outboxStoreOf(
  store: Writer<SellerOperations> | Writer<BuyerOperations> | Writer<TowerOperations>,
): OutboxStore {
  // All schemas have the same outbox operations; naming one lets the types say so.
  const writer = store as Writer<SellerOperations>
  return {
    intend: (row) => writer.run('intend', row),
    outboxSigned: (row) => writer.run('outboxSigned', row),
    outboxBumped: (row) => writer.run('outboxBumped', row),
    outboxReopen: (row) => writer.run('outboxReopen', row),
    outboxDone: (row) => writer.run('outboxDone', row),
    outboxPending: () => writer.read('outboxPending'),
    outboxFind: (row) => writer.read('outboxFind', row),
    outboxCopies: (row) => writer.read('outboxCopies', row),
    outboxMinedSince: (row) => writer.read('outboxMinedSince', row),
    outboxMaxNonce: () => writer.read('outboxMaxNonce'),
  }
}
