/** Answers how a peer looks from outside. Relays do it: they are where those who must know it are connected. */
import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { judgeIp } from '../../wire/address-policy.ts'
import { endpointOf, multiaddrText } from './endpoint.ts'
import { jsonStream } from './json-stream.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import type { Endpoint } from './nat-type.ts'
import { PeerRates } from './peer-limits.ts'
import { parseQuestion, reachProtocol, type ReachAnswer, type ReachQuestion } from './reach-messages.ts'

export interface ReachServerParts {
  node: Node
  allowPrivate: boolean
  stopped: AbortSignal
}

const answerMs = 10_000
const dialBackMs = 3_000
const mostDials = 32

export async function answerReach({ node, allowPrivate, stopped }: ReachServerParts): Promise<void> {
  const { transportManager } = internalsOf(node)
  const questions = new PeerRates(1, 30)
  // By address: who has one peer id has a thousand, and many peers stand behind one NAT.
  const dials = new PeerRates(0.5, 20)
  let dialing = 0

  /** Only ever to where the asker itself is seen: nobody can be made to knock on another's door. */
  async function dialBack({ remotePeer }: Connection, at: Endpoint): Promise<ReachAnswer> {
    const verdict = judgeIp(at.ip)
    if (at.port === 0 || verdict === 'refused' || (verdict === 'private' && !allowPrivate))
      return { refused: 'not_for_you' }
    if (dialing >= mostDials || !dials.take(at.ip)) return { refused: 'busy' }
    dialing += 1
    try {
      const signal = AbortSignal.any([stopped, AbortSignal.timeout(dialBackMs)])
      // Past the dial queue: it would join a dial to another address of the peer, or one that stands.
      const connection = await transportManager.dial(multiaddr(multiaddrText(at, remotePeer.toString())), {
        signal,
      })
      connection.close().catch(() => {})
      return { yes: true }
    } catch {
      return { yes: false }
    } finally {
      dialing -= 1
    }
  }

  async function answer(question: ReachQuestion, connection: Connection): Promise<ReachAnswer> {
    const seen = endpointOf(connection.remoteAddr.toString())
    if (seen === null) return { refused: 'not_for_you' }
    if (!questions.take(connection.remotePeer.toString())) return { refused: 'busy' }
    if (question.ask === 'seen') return { seen }
    if (question.ask === 'dial') return await dialBack(connection, { ip: seen.ip, port: question.port })
    const connections = node.getConnections(peerIdFromString(question.peer))
    return {
      yes: connections.some(({ remoteAddr }) => endpointOf(remoteAddr.toString())?.ip === question.ip),
    }
  }

  async function serve(stream: Stream, connection: Connection): Promise<void> {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(answerMs)])
    const messages = jsonStream(stream)
    await messages.write(await answer(parseQuestion(await messages.read(signal)), connection), signal)
    await stream.close({ signal })
  }

  // Not over a relay: what is seen there is the relay. libp2p aborts the stream of a handler that rejects.
  await node.handle(reachProtocol, serve, { maxInboundStreams: 8 })
}
