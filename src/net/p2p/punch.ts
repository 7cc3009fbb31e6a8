/** Makes relayed connections direct, through the NATs of both sides where they allow it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import { PeerCounts } from './peer-limits.ts'
import { punchProtocol } from './punch-messages.ts'
import { retireRelayed } from './punch-retire.ts'
import { openPunchTalk, type PunchParts } from './punch-talk.ts'

export interface Punch {
  /** Tries to replace a relayed connection that this host opened, now and later. The same one twice is once. */
  improve(connection: Connection): void
}

const knowMs = 2_000
const firstWaitMs = 60_000
const longestWaitMs = 15 * 60_000
const lookMs = 2_000
const mostAnswers = 64

export async function openPunch(parts: PunchParts): Promise<Punch> {
  const { node, reach, stopped } = parts
  const talk = openPunchTalk(parts)
  const answering = new PeerCounts(1, mostAnswers)
  const improving = new WeakSet<Connection>()

  const isDone = (connection: Connection) =>
    stopped.aborted ||
    connection.status !== 'open' ||
    node.getConnections(connection.remotePeer).some(({ direct }) => direct)

  async function keepTrying(connection: Connection): Promise<void> {
    // The first one comes while the host still learns what it is.
    await reach.settled(AbortSignal.any([stopped, AbortSignal.timeout(knowMs)]))
    let waitMs = firstWaitMs
    while (!isDone(connection)) {
      const tried = appearance()
      if (await tryAll(connection)) return
      const endMs = performance.now() + waitMs
      while (appearance() === tried && performance.now() < endMs && !isDone(connection))
        await sleep(lookMs, undefined, { signal: stopped, ref: false }).catch(() => {})
      waitMs = appearance() === tried ? Math.min(longestWaitMs, waitMs * 2) : firstWaitMs
    }
  }

  /** How this host looks from outside. After it moved, what failed before is worth another try. */
  function appearance(): string {
    return `${reach.nat()} ${reach.best()?.seenAs.ip ?? ''}`
  }

  async function tryAll(connection: Connection): Promise<boolean> {
    for (let round = 0; !isDone(connection); round += 1) {
      const came = await talk.call(connection, round).catch(() => false)
      if (came !== false) return came === true
    }
    return true
  }

  retireRelayed(node, stopped)
  await node.handle(
    punchProtocol,
    async (stream, connection) => {
      const peer = connection.remotePeer.toString()
      const isCalled = !connection.direct && connection.direction === 'inbound'
      if (!isCalled || isDone(connection) || !answering.take(peer)) return stream.abort(new Error('not now'))
      try {
        await talk.answer(stream, connection)
      } finally {
        answering.giveBack(peer)
      }
    },
    { runOnLimitedConnection: true, maxInboundStreams: 2 },
  )
  return {
    improve(connection) {
      if (connection.direct || connection.direction !== 'outbound' || improving.has(connection)) return
      improving.add(connection)
      // The direct one may go again before this one does.
      void keepTrying(connection).finally(() => improving.delete(connection))
    },
  }
}
