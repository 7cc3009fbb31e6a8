import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { TxLog } from './events.ts'
import type { SignedRow } from './outbox-store.ts'
import { decodeRevert } from './revert.ts'
import type { Rpc } from './rpc.ts'
import { judgeSightings, sightingOf, type Sight } from './sighting.ts'

/** What became of a signed transaction. `nonce-taken`: another one with its nonce was mined, so it never can be. */
export type Mined =
  | { kind: 'succeeded'; hash: Hex; block: number; logs: TxLog[] }
  | { kind: 'reverted'; hash: Hex; block: number; reason: string | null }
  | { kind: 'nonce-taken' }

export interface Confirmation {
  rpc: Rpc
  address: Address
  row: SignedRow
  confirmations: number
  /** On the clock of `performance.now`. */
  deadlineAtMs: number
  signal: AbortSignal | undefined
  /** Called now and then while the chain does not know the transaction: nodes forget, and lower nonces get lost. */
  rebroadcast: (row: SignedRow) => Promise<void>
  /** How long it may be next in line without being mined. */
  patienceMs: number
  /** How long its nonce must be seen used, without a receipt of its own showing up, before another one has it. */
  takenAfterMs: number
  /** Called when it waited that long: gives the row with a copy that offers more, or as it was. */
  bump: (row: SignedRow) => Promise<SignedRow>
}

const firstPollMs = 25
const lastPollMs = 1000
const rebroadcastEveryMs = 10_000

/** Waits until the transaction is mined deep enough. Throws `chain_unavailable` at the deadline. */
export async function watchConfirmation(wanted: Confirmation): Promise<Mined> {
  const { deadlineAtMs, signal, rebroadcast, patienceMs, takenAfterMs, bump } = wanted
  let { row } = wanted
  let lastFailure: unknown
  let broadcastAt = performance.now()
  let pricedAt = performance.now()
  let takenSince: number | null = null
  let wasHeldUp = false
  for (let pollMs = firstPollMs; ; pollMs = Math.min(lastPollMs, pollMs * 1.5)) {
    signal?.throwIfAborted()
    try {
      const sight = await look(wanted, row)
      if (sight.kind === 'mined') return await outcomeOf(wanted, sight)
      takenSince = sight.kind === 'nonce-used' ? (takenSince ?? performance.now()) : null
      if (takenSince !== null && performance.now() - takenSince >= takenAfterMs)
        return { kind: 'nonce-taken' }
      if (sight.kind === 'unseen' && sight.isNext && performance.now() - pricedAt >= patienceMs) {
        pricedAt = performance.now()
        row = await bump(row)
      }
      // What was lost with the blocks before it, or waited behind them, is handed out as soon as it can be mined.
      const isFreed = sight.kind === 'unseen' && sight.isNext && wasHeldUp
      wasHeldUp = sight.kind !== 'unseen' || !sight.isNext
      if (sight.kind === 'unseen' && (isFreed || performance.now() - broadcastAt >= rebroadcastEveryMs)) {
        broadcastAt = performance.now()
        await rebroadcast(row)
      }
    } catch (thrown) {
      if (!hasCode(thrown, 'chain_unavailable')) throw thrown
      lastFailure = thrown
    }
    if (performance.now() + pollMs > deadlineAtMs) throw outcomeUnknown(row, lastFailure)
    // An abort ends the pause; the next turn throws its reason.
    await sleep(pollMs, undefined, signal ? { signal } : {}).catch(() => undefined)
  }
}

/** What the RPCs see of the transaction now. Throws what `Rpc.all` throws. */
export async function look(
  { rpc, address, confirmations, signal }: Pick<Confirmation, 'rpc' | 'address' | 'confirmations' | 'signal'>,
  row: SignedRow,
): Promise<Sight> {
  const sightings = await rpc.all((source) => sightingOf(source, { address, row, signal }))
  const needed = rpc.needed(sightings.length)
  return judgeSightings(sightings, { nonce: row.nonce, confirmations, needed })
}

async function outcomeOf(wanted: Confirmation, sight: Extract<Sight, { kind: 'mined' }>): Promise<Mined> {
  const { hash, block, logs } = sight
  if (sight.succeeded) return { kind: 'succeeded', hash, block, logs }
  return { kind: 'reverted', hash, block, reason: await replay(wanted, block) }
}

// The state before the block first: there the transaction met what made it revert, unless a neighbour brought it.
async function replay({ rpc, address, row }: Confirmation, block: number): Promise<string | null> {
  const call = { from: address, to: row.to, data: row.data }
  const tags = [block - 1, block].map((number) => `0x${number.toString(16)}`)
  try {
    const replies = await rpc.batch(tags.map((tag) => ({ method: 'eth_call', params: [call, tag] })))
    return (
      replies.map((reply) => (reply.ok ? null : (decodeRevert(reply) ?? reply.message))).find(Boolean) ?? null
    )
  } catch {
    return null // The reason is a comfort; that it reverted is known.
  }
}

function outcomeUnknown(row: SignedRow, cause: unknown): OpenSeedError {
  return new OpenSeedError('chain_unavailable', {
    message: `The outcome of ${row.kind} ${row.hash} is not known in time.`,
    hint: 'It is kept and looked up again at the next try or start.',
    details: { key: row.key, hash: row.hash },
    cause,
  })
}
