/** Finding the first peers, more of them soon after, and all of them again when they are gone. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import type { KadQueries } from './kad-queries.ts'

export interface JoinParts {
  node: Pick<Libp2p, 'dial'>
  queries: Pick<KadQueries, 'routingTable' | 'meetNeighbours'>
  bootstrap: readonly Multiaddr[]
  /** False for who needs no neighbours. */
  stays: boolean
  stopped: AbortSignal
}

const firstWaitMs = 500
const dialAgainMs = 30_000
const firstMeetMs = 4_000
const meetAgainMs = 5 * 60_000
const dialMs = 5_000
const meetMs = 5_000
const lonelyMs = 1_500

export interface Joining {
  /** Settles when everyone who was to be dialled first was; gives how many were reached. */
  dialed: Promise<number>
  /** Settles when they are in the table, and the neighbours that they know were met, if wanted. */
  met: Promise<void>
  /** Settles when the host has stopped. */
  done: Promise<void>
}

/**
 * Dials bootstrap peers while the routing table is empty; once it is not, looks for this node's neighbours, often at
 * first: of nodes that start together, each knows only who was there before it. Never rejects.
 */
export function keepJoined(parts: JoinParts): Joining {
  const met = Promise.withResolvers<void>()
  const dialed = Promise.withResolvers<number>()
  const done = keepJoining(parts, dialed.resolve, met.resolve).finally(() => {
    dialed.resolve(0)
    met.resolve()
  })
  return { dialed: dialed.promise, met: met.promise, done }
}

async function keepJoining(
  { node, queries, bootstrap, stays, stopped }: JoinParts,
  onDialed: (reached: number) => void,
  onMet: () => void,
): Promise<void> {
  const { routingTable } = queries
  let dialWaitMs = firstWaitMs
  let meetWaitMs = firstMeetMs
  while (!stopped.aborted) {
    if (routingTable.size > 0) {
      dialWaitMs = firstWaitMs
      if (stays) await queries.meetNeighbours(within(meetMs, stopped))
      onMet()
      await wait(meetWaitMs, stopped)
      meetWaitMs = Math.min(meetAgainMs, meetWaitMs * 4)
    } else {
      meetWaitMs = firstMeetMs
      const signal = within(dialMs, stopped)
      const dials = await Promise.allSettled(bootstrap.map((addr) => node.dial(addr, { signal })))
      const reached = dials.filter(({ status }) => status === 'fulfilled').length
      onDialed(reached)
      // A peer enters the table a moment after its dial, when it has said what it speaks. All of them are waited for:
      // with the first one only, the first one says who else there is.
      await whenJoined(routingTable, Math.max(1, reached), within(dialWaitMs, stopped))
      dialWaitMs = Math.min(dialAgainMs, dialWaitMs * 2)
    }
  }
}

/**
 * Waits for somebody to ask: while the first ones are dialled, then for who was reached to say that it is a server,
 * and where nobody was, a moment for somebody to come by. Never rejects.
 */
export async function whenAnyone(
  { dialed }: Joining,
  table: KadQueries['routingTable'],
  signal: AbortSignal,
) {
  const lonely = new AbortController()
  const giveUp = async () => {
    if ((await dialed) > 0) return
    await wait(lonelyMs, signal)
    lonely.abort()
  }
  void giveUp()
  return await whenJoined(table, 1, AbortSignal.any([signal, lonely.signal]))
}

/** True once the table has that many peers, false when the signal comes first. */
export async function whenJoined(
  table: KadQueries['routingTable'],
  count: number,
  signal: AbortSignal,
): Promise<boolean> {
  while (table.size < count) {
    if (signal.aborted) return false
    await once(table, 'peer:add', { signal }).catch(() => {})
  }
  return true
}

function within(ms: number, stopped: AbortSignal): AbortSignal {
  return AbortSignal.any([stopped, AbortSignal.timeout(ms)])
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => {})
}
