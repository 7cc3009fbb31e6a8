/** One attempt at `/openseed/punch/1.0.0`, as either side sees it. */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import type { PeerId } from '../../wire/peer-id.ts'
import { jsonStream } from './json-stream.ts'
import type { Node } from './libp2p-node.ts'
import type { Endpoint } from './nat-type.ts'
import { connectionOver, type PunchRole } from './punch-connection.ts'
import { parseSide, parseStart, punchProtocol, type PunchStart } from './punch-messages.ts'
import { canMeet, plansFor, type PunchSide } from './punch-plan.ts'
import { openPunchPolicy } from './punch-policy.ts'
import { connectBoth, listenBriefly } from './punch-socket.ts'
import type { ReachClient } from './reach-client.ts'
import { whenDirect } from './when-direct.ts'

export interface PunchParts {
  node: Node
  reach: ReachClient
  allowPrivate: boolean
  stopped: AbortSignal
}

export interface PunchTalk {
  /**
   * For who opened the relayed connection: does what is to be tried first, or in a later round. True when there is a
   * direct one now; null when there is nothing more to try.
   */
  call(connection: Connection, round: number): Promise<boolean | null>
  /** For the other side: the stream on which it is called. Rejects when that fails. */
  answer(stream: Stream, connection: Connection): Promise<void>
}

const talkMs = 5_000
const knockMs = 3_000
const handshakeMs = 5_000

export function openPunchTalk({ node, reach, allowPrivate, stopped }: PunchParts): PunchTalk {
  const policy = openPunchPolicy(allowPrivate)
  const within = (ms: number) => AbortSignal.any([stopped, AbortSignal.timeout(ms)])

  function ourSide(): PunchSide {
    const nat = reach.nat()
    return { nat, from: reach.best()?.seenAs ?? null, open: nat === 'none' || reach.entrances().length > 0 }
  }

  /** The relay is connected to both of us: what the peer says must be where the relay sees it. */
  async function isTheirs({ remoteAddr, remotePeer }: Connection, at: Endpoint): Promise<boolean> {
    const relay = /\/p2p\/([^/]+)\/p2p-circuit/.exec(remoteAddr.toString())?.[1]
    return relay !== undefined && (await reach.confirms(relay, remotePeer.toString(), at.ip, within(talkMs)))
  }

  async function meet(peer: PeerId, at: Endpoint, role: PunchRole): Promise<boolean> {
    const localPort = reach.best()?.localPort
    if (localPort === undefined || !policy.admits(at)) return false
    const socket = await connectBoth(at, localPort, within(knockMs))
    await connectionOver(socket, { node, peer, at, role, signal: within(handshakeMs) })
    return true
  }

  async function callBack(peer: PeerId, at: Endpoint): Promise<void> {
    if (!policy.admits(at)) return
    const socket = await connectBoth(at, null, within(knockMs))
    await connectionOver(socket, { node, peer, at, role: 'opens', signal: within(handshakeMs) })
  }

  /** Opens a door for the peer, tells where, and waits until it came in. */
  async function awaitCall(
    peer: PeerId,
    { ip }: Endpoint,
    tell: (start: PunchStart) => Promise<void>,
  ): Promise<boolean> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, within(knockMs + handshakeMs)])
    const onSocket = (socket: Socket) => {
      const at = { ip: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
      // Whoever else comes is no such peer, and is gone.
      connectionOver(socket, { node, peer, at, role: 'answers', signal }).catch(() => {})
    }
    try {
      const [entrance] = reach.entrances()
      const at = entrance ?? { ip, port: await listenBriefly(ip, onSocket, signal) }
      const came = whenDirect(node, peer, signal)
      await tell({ plan: 'reverse', at })
      return await came
    } finally {
      over.abort()
    }
  }

  return {
    async call(connection, round) {
      const ours = ourSide()
      // With whom everything could be tried.
      const willing: PunchSide = { nat: 'cone', from: ours.from, open: false }
      if (plansFor(ours, willing).length <= round) return null
      const signal = within(talkMs)
      const stream = await connection.newStream(punchProtocol, { runOnLimitedConnection: true, signal })
      const messages = jsonStream(stream)
      const tell = async (start: PunchStart) => {
        await messages.write(start, signal)
        await stream.close({ signal })
      }
      try {
        const askedAtMs = performance.now()
        await messages.write(ours, signal)
        const theirs = parseSide(await messages.read(signal))
        const halfRttMs = (performance.now() - askedAtMs) / 2
        const plan = plansFor(ours, theirs)[round]
        const peer = connection.remotePeer.toString()
        if (plan === 'reverse') return await awaitCall(peer, ours.from!, tell)
        if (plan === undefined || !(await isTheirs(connection, theirs.from!))) {
          await tell({ plan: 'none' })
          return plan === undefined ? null : false
        }
        await tell({ plan })
        // The other side begins when it hears that, so that the two requests pass each other on the way.
        await sleep(halfRttMs)
        return await meet(peer, theirs.from!, 'opens')
      } catch (error) {
        stream.abort(error as Error)
        throw error
      }
    },

    async answer(stream, connection) {
      const signal = within(talkMs)
      const messages = jsonStream(stream)
      const theirs = parseSide(await messages.read(signal))
      const ours = ourSide()
      await messages.write(ours, signal)
      const { from } = theirs
      // Asked before it is needed: the caller counts on this side to begin when it is told to.
      const checked = from !== null && canMeet(ours) && isTheirs(connection, from)
      const start = parseStart(await messages.read(signal))
      await stream.close({ signal })
      const peer = connection.remotePeer.toString()
      if (start.plan === 'meet' && from !== null && (await checked)) await meet(peer, from, 'answers')
      if (start.plan === 'reverse' && (await isTheirs(connection, start.at))) await callBack(peer, start.at)
    },
  }
}
