import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { loadSigned, newestCopy, type OutboxStore, type SignedRow } from './outbox-store.ts'
import type { Rpc } from './rpc.ts'

export interface Broadcaster {
  /**
   * Hands the row's newest copy to the network, after every lower nonce that the network may not have: a hole would
   * keep this one from being mined. Returns when a node has it, or when no RPC answers or takes it for its
   * price (the wait that follows tries again).
   * Throws `chain_refused` or `gas_insufficient` when all nodes refuse it.
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
    const { raw, hash } = newestCopy(row)
    try {
      // To every RPC: one of them may take it and keep it to itself.
      await Promise.any(rpc.sources.map((source) => handTo(source, raw)))
    } catch (thrown) {
      throw refusalOf(thrown, row)
    }
    taken.add(hash)
  }

  async function lowerRows(row: SignedRow): Promise<SignedRow[]> {
    const rows = await store.outboxPending()
    const lower = rows.filter(({ status, nonce }) => status === 'signed' && (nonce ?? row.nonce) < row.nonce)
    const signed = await Promise.all(lower.map((one) => loadSigned(store, one)))
    return signed.toSorted((a, b) => a.nonce - b.nonce)
  }

  async function broadcast(row: SignedRow, { again = false } = {}): Promise<void> {
    try {
      for (const lower of await lowerRows(row)) {
        if (again || !taken.has(newestCopy(lower).hash))
          await hand(lower).catch((thrown: unknown) => passOver(thrown, lower))
      }
      await hand(row)
    } catch (thrown) {
      if (!hasCode(thrown, 'chain_unavailable') && !isOutpriced(thrown)) throw thrown
      log.warn({ key: row.key, hash: row.hash, err: thrown }, 'transaction not broadcast yet')
    }
  }

  // A refused neighbour is its own sender's concern; an RPC that is down is everybody's.
  function passOver(thrown: unknown, row: SignedRow): void {
    if (!hasCode(thrown, 'chain_refused') && !hasCode(thrown, 'gas_insufficient')) throw thrown
    log.warn({ key: row.key, hash: row.hash, err: thrown }, 'an earlier transaction is refused')
  }

  return { broadcast, forget: ({ copies }) => copies.forEach(({ hash }) => taken.delete(hash)) }
}

async function handTo(source: Rpc, raw: string): Promise<void> {
  try {
    await source.send('eth_sendRawTransaction', [raw])
  } catch (thrown) {
    if (!hasCode(thrown, 'chain_refused') || !isKnown(thrown.message)) throw thrown
  }
}

// The base fee has passed its offer: the wait makes a copy that offers more.
const isOutpriced = (thrown: unknown) =>
  hasCode(thrown, 'chain_refused') && /base fee|fee ?cap|fee too low/i.test(thrown.message)

// Already in the pool (as a copy that offers as much), already mined, or its nonce is used: the wait tells which.
const isKnown = (message: string) =>
  /already known|already imported|known transaction|underpriced|nonce too low|nonce.*used/i.test(message)

/** Of all that the RPCs said the chain's own word counts most. */
function refusalOf(thrown: unknown, row: SignedRow): unknown {
  const errors: unknown[] = thrown instanceof AggregateError ? thrown.errors : [thrown]
  const refusal = errors.find((error) => hasCode(error, 'chain_refused')) ?? errors[0]
  if (!hasCode(refusal, 'chain_refused') || !/insufficient (funds|balance)/i.test(refusal.message))
    return refusal
  return new OpenSeedError('gas_insufficient', {
    message: `The key that pays gas cannot pay for ${row.kind} (${row.hash}), which is signed and waits.`,
    hint: "Send some of the chain's native coin to it.",
    cause: refusal,
  })
}
