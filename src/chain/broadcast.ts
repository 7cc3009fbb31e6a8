import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { signedRow, type OutboxStore, type SignedRow } from './outbox-store.ts'
import type { Rpc } from './rpc.ts'

export interface Broadcaster {
  /**
   * Hands the row's bytes to the network, after every lower nonce that the network may not have: a hole would keep
   * this one from being mined. Returns when a node has it or no RPC answers (the wait that follows tries again).
   * Throws `chain_refused` or `gas_insufficient` when nodes refuse it.
   */
  broadcast(row: SignedRow, options?: { again?: boolean }): Promise<void>
  forget(row: SignedRow): void
}

export function openBroadcaster({
  rpc,
  store,
  log,
}: {
  rpc: Rpc
  store: OutboxStore
  log: Log
}): Broadcaster {
  const taken = new Set<string>()

  async function hand(row: SignedRow): Promise<void> {
    try {
      await rpc.send('eth_sendRawTransaction', [row.raw])
    } catch (thrown) {
      if (!hasCode(thrown, 'chain_refused')) throw thrown
      if (!isKnown(thrown.message)) throw refusalOf(thrown, row)
    }
    taken.add(row.hash)
  }

  async function lowerRows(row: SignedRow): Promise<SignedRow[]> {
    const rows = await store.outboxPending()
    return rows
      .filter(({ status }) => status === 'signed')
      .map(signedRow)
      .filter(({ nonce }) => nonce < row.nonce)
      .toSorted((a, b) => a.nonce - b.nonce)
  }

  async function broadcast(row: SignedRow, { again = false } = {}): Promise<void> {
    try {
      for (const lower of await lowerRows(row)) {
        if (again || !taken.has(lower.hash))
          await hand(lower).catch((thrown: unknown) => passOver(thrown, lower))
      }
      await hand(row)
    } catch (thrown) {
      if (!hasCode(thrown, 'chain_unavailable')) throw thrown
      log.warn({ key: row.key, hash: row.hash, err: thrown }, 'transaction not broadcast yet')
    }
  }

  // A refused neighbour is its own sender's concern; an RPC that is down is everybody's.
  function passOver(thrown: unknown, row: SignedRow): void {
    if (!hasCode(thrown, 'chain_refused') && !hasCode(thrown, 'gas_insufficient')) throw thrown
    log.warn({ key: row.key, hash: row.hash, err: thrown }, 'an earlier transaction is refused')
  }

  return { broadcast, forget: (row) => taken.delete(row.hash) }
}

// Already in the pool, already mined, or its nonce is used: the wait for the receipt tells which.
const isKnown = (message: string) =>
  /already known|already imported|known transaction|nonce too low|nonce.*used/i.test(message)

function refusalOf(refusal: OpenSeedError, row: SignedRow): OpenSeedError {
  if (!/insufficient (funds|balance)/i.test(refusal.message)) return refusal
  return new OpenSeedError('gas_insufficient', {
    message: `The key that pays gas cannot pay for ${row.kind} (${row.hash}), which is signed and waits.`,
    hint: "Send some of the chain's native coin to it.",
    cause: refusal,
  })
}
