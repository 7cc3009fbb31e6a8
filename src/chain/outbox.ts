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
import { look, watchConfirmation, type Mined } from './confirm.ts'
import type { TxLog } from './events.ts'
import { loadSigned, type OutboxRow, type OutboxStore, type SignedRow } from './outbox-store.ts'
import { openRepricer } from './reprice.ts'
import { vouched } from './quorum.ts'
import type { Rpc } from './rpc.ts'
import { addressOfKey, prepareTransaction, signTransaction, type PreparedTransaction } from './transaction.ts'

/** A call that is to happen once. `key` is its identity: the call of the first live send of a key counts. */
export interface Intent extends Call {
  key: string
  /** What it is for, for people: `deposit`, `claim`, … */
  kind: string
  /** The outcome counts at this depth instead of the outbox's; what a reorg undoes later, `recheck` finds. */
  confirmations?: number
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
  /**
   * Finishes all that has no outcome yet, or all of one kind: broadcasts the identical bytes, signs what was only
   * intended. Throws when some outcome stays unknown.
   */
  resume(kind?: string): Promise<void>
  /**
   * Looks again whether a mined transaction is on the chain, and when it is not, hands the identical bytes out again
   * and waits for them. Null for a key that was not mined. Throws as `send` does.
   */
  confirmAgain(key: string): Promise<TxOutcome | null>
  /** `confirmAgain` for everything mined in this block or a later one: after a reorg, and at a start. */
  recheck(fromBlock: number): Promise<void>
  /**
   * The chain gave up what it had from this block on: begins to recheck it at once, because what is being waited for
   * may wait for an earlier nonce that is gone. What fails is done again by `reconcile`.
   */
  reorged(fromBlock: number): void
  /** Rechecks what reorgs may have undone, then resumes all of one kind. Throws as they do. */
  reconcile(kind: string): Promise<void>
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
  /** How long a transaction may be next in line without being mined before it offers a higher fee, in milliseconds. */
  patienceMs?: number
  /**
   * How long a nonce must be seen used, without a receipt, before another transaction has it, in milliseconds: the
   * nodes behind one URL are not equally far.
   */
  takenAfterMs?: number
  /** Ends every wait when aborted. */
  signal?: AbortSignal
}

export function openOutbox(options: OutboxOptions): Outbox {
  const { rpc, store, key, chainId, now, log, signal } = options
  const { deadlineMs = 60_000, patienceMs = 30_000, takenAfterMs = 5000 } = options
  const address = addressOfKey(key)
  const broadcaster = openBroadcaster({ rpc, store, log })
  const reprice = openRepricer({ rpc, store, key, log })
  const inTurn = openTurns()
  const running = new Map<string, Promise<TxOutcome>>()
  let reorgedSince: number | null = null

  function once(rowKey: string, work: () => Promise<TxOutcome>): Promise<TxOutcome> {
    const already = running.get(rowKey)
    if (already) return already
    const started = work().finally(() => running.delete(rowKey))
    running.set(rowKey, started)
    return started
  }

  async function intendAndFinish(intent: Intent): Promise<TxOutcome> {
    const { key: rowKey, kind, to, data, confirmations = options.confirmations } = intent
    await store.intend({ key: rowKey, kind, to, data, createdAtMs: now() })
    crashPoint('outbox.intended')
    const row = await store.outboxFind({ key: rowKey })
    if (!row) throw new OpenSeedError('internal_error', { message: `The outbox lost the row ${rowKey}.` })
    return finish(row, confirmations)
  }

  async function finish(row: OutboxRow, confirmations = options.confirmations): Promise<TxOutcome> {
    if (row.status === 'intended') return signAndSend(row, confirmations)
    if (row.status === 'signed') return settle(await loadSigned(store, row), confirmations)
    return storedOutcome(row)
  }

  async function signAndSend(row: OutboxRow, confirmations: number): Promise<TxOutcome> {
    const prepared = await prepareTransaction(rpc, address, row)
    if (prepared.kind !== 'ready') return drop(row, prepared.reason, prepared.error)
    return settle(await inTurn(() => signNext(row, prepared.transaction)), confirmations)
  }

  // One at a time: two signatures must not take the same nonce, and a nonce is taken when its commit is.
  async function signNext(row: OutboxRow, transaction: PreparedTransaction): Promise<SignedRow> {
    const told = await rpc.all(async (source) =>
      Number(await source.send('eth_getTransactionCount', [address, 'pending'], signal)),
    )
    const pending = vouched(told, rpc.needed(told.length)) ?? 0
    const highest = (await store.outboxMaxNonce()) ?? -1
    const nonce = Math.max(pending, highest + 1)
    const { raw, hash } = signTransaction({ ...transaction, nonce, chainId }, key)
    await store.outboxSigned({ key: row.key, nonce, raw, hash })
    crashPoint('outbox.signed')
    return { ...row, status: 'signed', nonce, raw, hash, copies: [{ raw, hash }] }
  }

  async function settle(signed: SignedRow, confirmations: number): Promise<TxOutcome> {
    const deadlineAtMs = performance.now() + deadlineMs
    await inTurn(() => broadcaster.broadcast(signed))
    crashPoint('outbox.sent')
    const mined = await watchConfirmation({
      rpc,
      address,
      row: signed,
      confirmations,
      deadlineAtMs,
      signal,
      patienceMs,
      takenAfterMs,
      rebroadcast: (row) => inTurn(() => broadcaster.broadcast(row, { again: true })),
      bump: async (row) => {
        const bumped = await reprice(row)
        if (bumped !== row) await inTurn(() => broadcaster.broadcast(bumped))
        return bumped
      },
    })
    return record(signed, mined)
  }

  async function record(row: SignedRow, mined: Mined): Promise<TxOutcome> {
    if (mined.kind === 'nonce-taken') return drop(row, 'another transaction took its nonce')
    crashPoint('outbox.confirmed')
    const outcome: TxOutcome =
      mined.kind === 'succeeded'
        ? { status: 'confirmed', hash: mined.hash, block: mined.block, logs: mined.logs }
        : { status: 'reverted', hash: mined.hash, block: mined.block, reason: mined.reason }
    const { block, status, ...result } = outcome
    await store.outboxDone({ key: row.key, status, block, result: JSON.stringify(result) })
    broadcaster.forget(row)
    log.info({ kind: row.kind, key: row.key, hash: mined.hash, status, block }, 'transaction mined')
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

  async function resume(kind?: string): Promise<void> {
    const rows = (await store.outboxPending()).filter((row) => kind === undefined || row.kind === kind)
    // Signed rows first and by nonce: a later nonce is not mined before an earlier one.
    const ordered = rows.toSorted((a, b) => (a.nonce ?? Infinity) - (b.nonce ?? Infinity))
    await allOf(ordered.map((row) => once(row.key, () => finish(row))))
  }

  async function confirmAgain(rowKey: string): Promise<TxOutcome | null> {
    const row = await store.outboxFind({ key: rowKey })
    if (row === null || (row.status !== 'confirmed' && row.status !== 'reverted')) return null
    return once(rowKey, () => lookAgain(row))
  }

  async function lookAgain(row: OutboxRow): Promise<TxOutcome> {
    const signed = await loadSigned(store, row)
    const sight = await look({ rpc, address, confirmations: 1, signal }, signed)
    if (sight.kind === 'mined') return storedOutcome(row)
    log.warn({ kind: row.kind, key: row.key, hash: row.hash }, 'a mined transaction is gone from the chain')
    if (!(await store.outboxReopen({ key: row.key }))) return storedOutcome(row)
    crashPoint('outbox.reopened')
    return settle({ ...signed, status: 'signed', block: null, result: null }, options.confirmations)
  }

  async function recheck(fromBlock: number): Promise<void> {
    const rows = await store.outboxMinedSince({ block: fromBlock })
    await allOf(rows.map((row) => once(row.key, () => lookAgain(row))))
  }

  function reorged(fromBlock: number): void {
    reorgedSince = Math.min(fromBlock, reorgedSince ?? fromBlock)
    void recheck(fromBlock).catch(() => undefined)
  }

  async function reconcile(kind: string): Promise<void> {
    const since = reorgedSince
    if (since !== null) await recheck(since)
    // Another reorg may have come meanwhile.
    if (reorgedSince === since) reorgedSince = null
    await resume(kind)
  }

  const send = (intent: Intent) => once(intent.key, () => intendAndFinish(intent))
  return { address, send, resume, confirmAgain, recheck, reorged, reconcile }
}

/** Waits for all of them, and then fails as the first one did that failed. */
async function allOf(work: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(work)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}

function storedOutcome(row: OutboxRow): TxOutcome {
  const result = JSON.parse(row.result ?? '{}') as { hash?: Hex; logs?: TxLog[]; reason?: string | null }
  // Which of its copies was mined stands in the result.
  const hash: Hex = result.hash ?? row.hash ?? '0x'
  const place = { hash, block: row.block ?? 0 }
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
