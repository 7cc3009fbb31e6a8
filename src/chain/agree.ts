/** Reads that do not rest on one RPC's word. */
import type { Hex } from '../wire/hex.ts'
import { openEscrow, type ChannelOnChain, type Escrow } from './escrow.ts'
import { vouched } from './quorum.ts'
import { tooFew } from './rpc-all.ts'

/**
 * What may be relied on of a channel after several RPCs told of it: money counts when `needed` of them vouch for it; a
 * withdrawal counts as soon as one of them reports it. Null when too few answered.
 */
export function agreeOnChannel(readings: readonly ChannelOnChain[], needed: number): ChannelOnChain | null {
  const highest = <T extends bigint | number>(of: (reading: ChannelOnChain) => T): T | null =>
    vouched(readings.map(of), needed)
  const balance = highest((reading) => reading.balance)
  const totalClaimed = highest((reading) => reading.totalClaimed)
  const refundNonce = highest((reading) => reading.refundNonce)
  if (balance === null || totalClaimed === null || refundNonce === null) return null
  const withdrawals = readings.filter(({ withdrawAmount }) => withdrawAmount > 0n)
  return {
    balance,
    totalClaimed,
    refundNonce,
    withdrawAmount: withdrawals.reduce((most, { withdrawAmount: one }) => (one > most ? one : most), 0n),
    withdrawInitiatedAtSec:
      withdrawals.length === 0 ? 0 : Math.min(...withdrawals.map((one) => one.withdrawInitiatedAtSec)),
  }
}

/**
 * Channels as enough RPCs vouch for them. A balance counts once it is `depth` blocks deep (1: in the newest block); a
 * withdrawal counts at once. Throws `chain_unavailable` when too few RPCs answer.
 */
export async function agreedChannels(
  { network, rpc }: Escrow,
  ids: readonly Hex[],
  depth = 1,
): Promise<ChannelOnChain[]> {
  if (ids.length === 0) return []
  const told = await rpc.all(async (source) => {
    const escrow = openEscrow(source, network)
    if (depth <= 1) return escrow.channels(ids)
    const { number } = await escrow.head()
    const [now, before] = await Promise.all([
      escrow.channels(ids),
      escrow.channels(ids, Math.max(0, number - depth + 1)),
    ])
    return now.map((channel, index) => ({
      ...channel,
      balance: least(channel.balance, before[index]?.balance),
    }))
  })
  const needed = rpc.needed(told.length)
  return ids.map((_, index) => {
    const agreed = agreeOnChannel(
      told.map((channels) => channels[index] as ChannelOnChain),
      needed,
    )
    if (agreed === null) throw tooFew([], { answered: told.length, of: rpc.sources.length })
    return agreed
  })
}

/**
 * Judges by the RPC that is asked first, and when that one objects by all of them: an objection counts when as many
 * have one as must agree, so that one that lags or lies hinders nobody. Null: go on; what is sent is judged again.
 */
export async function agreedObjection<T extends object | string>(
  { rpc, network }: Escrow,
  judge: (escrow: Escrow) => Promise<T | null>,
): Promise<T | null> {
  const first = await judge(openEscrow(rpc, network))
  if (first === null || rpc.sources.length === 1) return first
  const told = await rpc.all((source) => judge(openEscrow(source, network)))
  const objections = told.filter((one) => one !== null)
  const needed = rpc.needed(told.length)
  if (objections.length < needed) return null
  const alike = (one: T) => objections.filter((other) => JSON.stringify(other) === JSON.stringify(one))
  return objections.find((one) => alike(one).length >= needed) ?? first
}

const least = (now: bigint, before = 0n): bigint => (before < now ? before : now)
