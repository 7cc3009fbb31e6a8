import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { TxLog } from './events.ts'
import type { SignedRow } from './outbox-store.ts'
import { decodeRevert } from './revert.ts'
import { resultOf, type Rpc } from './rpc.ts'

/** What became of a signed transaction. `nonce-taken`: another one with its nonce was mined, so it never can be. */
export type Mined =
  | { kind: 'succeeded'; block: number; logs: TxLog[] }
  | { kind: 'reverted'; block: number; reason: string | null }
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
  rebroadcast: () => Promise<void>
}

const firstPollMs = 25
const lastPollMs = 1000
const rebroadcastEveryMs = 10_000
// Nodes behind one URL are not equally far: a nonce must be seen used for this long without a receipt showing up.
const takenAfterMs = 5000

/** Waits until the transaction is mined deep enough. Throws `chain_unavailable` at the deadline. */
export async function watchConfirmation(wanted: Confirmation): Promise<Mined> {
  const { deadlineAtMs, signal, rebroadcast, row } = wanted
  let lastFailure: unknown
  let broadcastAt = performance.now()
  let takenSince: number | null = null
  for (let pollMs = firstPollMs; ; pollMs = Math.min(lastPollMs, pollMs * 1.5)) {
    signal?.throwIfAborted()
    try {
      const sight = await look(wanted)
      if (sight.kind === 'succeeded') return sight
      if (sight.kind === 'reverted') return { ...sight, reason: await replay(wanted, sight.block) }
      takenSince = sight.kind === 'nonce-used' ? (takenSince ?? performance.now()) : null
      if (takenSince !== null && performance.now() - takenSince >= takenAfterMs)
        return { kind: 'nonce-taken' }
      if (sight.kind === 'unseen' && performance.now() - broadcastAt >= rebroadcastEveryMs) {
        broadcastAt = performance.now()
        await rebroadcast()
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

type Sight =
  | { kind: 'succeeded'; block: number; logs: TxLog[] }
  | { kind: 'reverted'; block: number }
  | { kind: 'unseen' | 'too-young' | 'nonce-used' }

async function look({ rpc, address, row, confirmations, signal }: Confirmation): Promise<Sight> {
  const replies = await rpc.batch(
    [
      { method: 'eth_getTransactionReceipt', params: [row.hash] },
      { method: 'eth_blockNumber' },
      { method: 'eth_getTransactionCount', params: [address, 'latest'] },
    ],
    signal,
  )
  const receipt = resultOf(replies[0], 'eth_getTransactionReceipt') as Receipt | null
  const head = Number(resultOf(replies[1], 'eth_blockNumber'))
  const used = Number(resultOf(replies[2], 'eth_getTransactionCount'))
  if (receipt === null) return { kind: used > row.nonce ? 'nonce-used' : 'unseen' }
  const block = Number(receipt.blockNumber)
  if (head - block + 1 < confirmations) return { kind: 'too-young' }
  if (BigInt(receipt.status) === 0n) return { kind: 'reverted', block }
  return {
    kind: 'succeeded',
    block,
    logs: receipt.logs.map(({ address, topics, data }) => ({ address, topics, data })),
  }
}

interface Receipt {
  status: Hex
  blockNumber: Hex
  logs: TxLog[]
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
