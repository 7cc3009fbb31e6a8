/**
 * The outbox: each intent (a key and a call) becomes at most one mined transaction, whatever crashes. The intent is
 * committed first, then nonce and signed bytes, and only then anything is broadcast; after a crash the identical
 * bytes are broadcast again.
 */
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { openBroadcaster } from './broadcast.ts'
import type { Call } from './calls.ts'
import { watchConfirmation, type Mined } from './confirm.ts'
import type { TxLog } from './events.ts'
import { signedRow, type OutboxRow, type OutboxStore, type SignedRow } from './outbox-store.ts'
import type { Rpc } from './rpc.ts'
import { addressOfKey, prepareTransaction, signTransaction, type PreparedTransaction } from './transaction.ts'

/** A call that is to happen once. `key` is its identity: the call of the first live send of a key counts. */
export interface Intent extends Call {
  key: string
  /** What it is for, for people: `deposit`, `claim`, … */
  kind: string
}

/**
 * How an intent ended. `reverted`: mined and undone, gas paid; `reason` is the error's name where a replay gives it.
 * `refused`: never mined and never will be (it would revert, or another transaction took its nonce); the same key may
 * be sent again.
 */
export type TxOutcome =
  | { status: 'confirmed'; hash: Hex; block: number; logs: TxLog[] }
  | { status: 'reverted'; hash: Hex; block: number; reason: string | null }
  | { status: 'refused'; reason: string }

export interface Outbox {
  /** The account that pays gas and sends every transaction. */
  readonly address: Address
  /**
   * Sends the intent's transaction and waits for its outcome. The same key again joins the running send, or gives the
   * stored outcome, or goes on where a crash stopped it. Throws `chain_unavailable` when the outcome is not known in
   * time (it is reconciled by the next send of the key, or by `resume`), `gas_insufficient`, `chain_refused` when no
   * node takes the signed transaction, `store_unavailable`.
   */
  send(intent: Intent): Promise<TxOutcome>
  /** Finishes all that an earlier process left: broadcasts the identical bytes, signs what was only intended. */
  resume(): Promise<void>
}

export interface OutboxOptions {
  rpc: Rpc
  /** Rows of this key alone: nonces are counted from them. */
  store: OutboxStore
  /** The private key that pays gas. */
  key: Hex
  chainId: number
  /** A transaction counts once this many blocks hold or follow it: 1 is its own block. */
  confirmations: number
  now: Clock
  log: Log
  /** How long one send waits for its outcome, in milliseconds. */
  deadlineMs?: number
  /** Ends every wait when aborted. */
  signal?: AbortSignal
}

export function openOutbox(options: OutboxOptions): Outbox {
  const { rpc, store, key, chainId, confirmations, now, log, deadlineMs = 60_000, signal } = options
  const address = addressOfKey(key)
  const broadcaster = openBroadcaster({ rpc, store, log })
  const inTurn = openTurns()
  const running = new Map<string, Promise<TxOutcome>>()

  function once(rowKey: string, work: () => Promise<TxOutcome>): Promise<TxOutcome> {
    const already = running.get(rowKey)
    if (already) return already
    const started = work().finally(() => running.delete(rowKey))
    running.set(rowKey, started)
    return started
  }

  async function intendAndFinish({ key: rowKey, kind, to, data }: Intent): Promise<TxOutcome> {
    await store.intend({ key: rowKey, kind, to, data, createdAtMs: now() })
    crashPoint('outbox.intended')
    const row = await store.outboxFind({ key: rowKey })
    if (!row) throw new OpenSeedError('internal_error', { message: `The outbox lost the row ${rowKey}.` })
    return finish(row)
  }

  async function finish(row: OutboxRow): Promise<TxOutcome> {
    if (row.status === 'intended') return signAndSend(row)
    if (row.status === 'signed') return settle(signedRow(row))
    return storedOutcome(row)
  }

  async function signAndSend(row: OutboxRow): Promise<TxOutcome> {
    const prepared = await prepareTransaction(rpc, address, row)
    if (prepared.kind !== 'ready') return drop(row, prepared.reason, prepared.error)
    return settle(await inTurn(() => signNext(row, prepared.transaction)))
  }

  // One at a time: two signatures must not take the same nonce, and a nonce is taken when its commit is.
  async function signNext(row: OutboxRow, transaction: PreparedTransaction): Promise<SignedRow> {
    const pending = Number(await rpc.send('eth_getTransactionCount', [address, 'pending'], signal))
    const highest = (await store.outboxMaxNonce()) ?? -1
    const nonce = Math.max(pending, highest + 1)
    const { raw, hash } = signTransaction({ ...transaction, nonce, chainId }, key)
    await store.outboxSigned({ key: row.key, nonce, raw, hash })
    crashPoint('outbox.signed')
    return { ...row, status: 'signed', nonce, raw, hash }
  }

  async function settle(row: SignedRow): Promise<TxOutcome> {
    const deadlineAtMs = performance.now() + deadlineMs
    await inTurn(() => broadcaster.broadcast(row))
    crashPoint('outbox.sent')
    const mined = await watchConfirmation({
      rpc,
      address,
      row,
      confirmations,
      deadlineAtMs,
      signal,
      rebroadcast: () => inTurn(() => broadcaster.broadcast(row, { again: true })),
    })
    return record(row, mined)
  }

  async function record(row: SignedRow, mined: Mined): Promise<TxOutcome> {
    if (mined.kind === 'nonce-taken') return drop(row, 'another transaction took its nonce')
    crashPoint('outbox.confirmed')
    const outcome: TxOutcome =
      mined.kind === 'succeeded'
        ? { status: 'confirmed', hash: row.hash, block: mined.block, logs: mined.logs }
        : { status: 'reverted', hash: row.hash, block: mined.block, reason: mined.reason }
    const { hash: _, block, status, ...result } = outcome
    await store.outboxDone({ key: row.key, status, block, result: JSON.stringify(result) })
    broadcaster.forget(row)
    log.info({ kind: row.kind, key: row.key, hash: row.hash, status, block }, 'transaction mined')
    return outcome
  }

  async function drop(row: OutboxRow, reason: string, error?: OpenSeedError): Promise<TxOutcome> {
    await store.outboxDone({
      key: row.key,
      status: 'dropped',
      block: null,
      result: JSON.stringify({ reason }),
    })
    log.warn({ kind: row.kind, key: row.key, reason }, 'transaction not sent')
    if (error) throw error
    return { status: 'refused', reason }
  }

  async function resume(): Promise<void> {
    const rows = await store.outboxPending()
    // Signed rows first and by nonce: a later nonce is not mined before an earlier one.
    const ordered = rows.toSorted((a, b) => (a.nonce ?? Infinity) - (b.nonce ?? Infinity))
    const results = await Promise.allSettled(ordered.map((row) => once(row.key, () => finish(row))))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
  }

  return { address, send: (intent) => once(intent.key, () => intendAndFinish(intent)), resume }
}

function storedOutcome(row: OutboxRow): TxOutcome {
  const result = JSON.parse(row.result ?? '{}') as { logs?: TxLog[]; reason?: string | null }
  const place = { hash: row.hash ?? '0x', block: row.block ?? 0 } satisfies { hash: Hex; block: number }
  if (row.status === 'confirmed') return { status: 'confirmed', ...place, logs: result.logs ?? [] }
  if (row.status === 'reverted') return { status: 'reverted', ...place, reason: result.reason ?? null }
  return { status: 'refused', reason: result.reason ?? 'dropped' }
}

function openTurns() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>): Promise<T> => {
    const mine = last.then(work, work)
    last = mine.catch(() => undefined)
    return mine
  }
}
