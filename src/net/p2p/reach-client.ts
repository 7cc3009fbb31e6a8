/** Learns from relays and registries how this host looks from outside: its NAT, and whether others get in. */
import { networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection, IdentifyResult } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { Changes } from '../../base/changes.ts'
import { judgeIp } from '../../wire/address-policy.ts'
import type { PeerId } from '../../wire/peer-id.ts'
import type { DialPort } from './fixed-port.ts'
import { jsonStream } from './json-stream.ts'
import type { Node } from './libp2p-node.ts'
import { bestSighting, natOf, ofOneFamily, type Endpoint, type Nat, type Sighting } from './nat-type.ts'
import { parseSeen, parseYes, reachProtocol, type ReachQuestion } from './reach-messages.ts'

export interface ReachParts {
  node: Node
  port: DialPort
  /** Multiaddrs of who may be asked: DHT servers and relays. */
  witnesses: () => readonly string[]
  /** Ports that this host listens on, or that a router hands on to it. */
  openPorts: () => readonly number[]
  allowPrivate: boolean
  started: Promise<unknown>
  stopped: AbortSignal
  onChange: () => void
}

export interface ReachClient {
  nat(): Nat
  /** What others see of this host, and from where. */
  sightings(): readonly Sighting[]
  /** From where to open a connection so that it is seen to come from `seenAs`. */
  best(): Sighting | null
  /** Where somebody opened a connection to this host. */
  entrances(): readonly Endpoint[]
  /** Resolves when it is known what NAT there is, or the signal aborts. */
  settled(signal: AbortSignal): Promise<void>
  /** Whether the witness sees the peer at that address. False when it does not say. */
  confirms(witness: PeerId, peer: PeerId, ip: string, signal: AbortSignal): Promise<boolean>
  /** Asks again whether others get in, as after a port was mapped. */
  recheck(): void
  /** Settles when the host has stopped. */
  done: Promise<void>
}

const enough = 2
const askMs = 3_000
const dialBackMs = 8_000
const dialMs = 5_000
const lookAgainMs = 15_000
const longestLookMs = 5 * 60_000
const recheckMs = 10 * 60_000

export function openReachClient(parts: ReachParts): ReachClient {
  const { node, port, witnesses, openPorts, allowPrivate, started, stopped, onChange } = parts
  const seen = new Map<Connection, Sighting>()
  const entrances = new Map<string, Endpoint>()
  const answers = new Changes<'seen'>()

  const sightings = () => [...seen.values()]
  const nat = () => natOf(sightings(), ownIps())
  const told = () => new Set(ofOneFamily(sightings()).map(({ witness }) => witness)).size

  async function ask(
    connection: Connection,
    question: ReachQuestion,
    ms: number,
    given: AbortSignal = stopped,
  ): Promise<unknown> {
    const signal = AbortSignal.any([stopped, given, AbortSignal.timeout(ms)])
    const stream = await connection.newStream(reachProtocol, { signal })
    try {
      const messages = jsonStream(stream)
      await messages.write(question, signal)
      const answer = await messages.read(signal)
      await stream.close({ signal })
      return answer
    } catch (error) {
      stream.abort(error as Error)
      throw error
    }
  }

  async function look(connection: Connection): Promise<void> {
    const localPort = port.portOf(connection)
    if (localPort === null || seen.has(connection)) return
    const seenAs = parseSeen(await ask(connection, { ask: 'seen' }, askMs))
    if (!mayBeOurs(seenAs) || connection.status !== 'open') return
    // An address, or a name as it was dialled.
    const witness = connection.remoteAddr.toString().split('/')[2] ?? ''
    seen.set(connection, { witness, localPort, seenAs })
    connection.addEventListener('close', () => {
      seen.delete(connection)
      onChange()
    })
    answers.wake('seen')
    onChange()
    if (told() <= enough) checkEntrances(connection)
  }

  function mayBeOurs({ ip }: Endpoint): boolean {
    const verdict = judgeIp(ip)
    return verdict === 'public' || (verdict === 'private' && allowPrivate)
  }

  function checkEntrances(connection: Connection, again = false): void {
    const ip = seen.get(connection)?.seenAs.ip
    if (ip === undefined) return
    for (const openPort of openPorts()) {
      // Who does not answer leaves it to somebody else to say.
      checkEntrance(connection, { ip, port: openPort }, again).catch(() => {})
    }
  }

  async function checkEntrance(connection: Connection, at: Endpoint, again: boolean): Promise<void> {
    const name = `${at.ip} ${at.port}`
    const yes = parseYes(await ask(connection, { ask: 'dial', port: at.port }, dialBackMs))
    if (yes === null || yes === entrances.has(name)) return
    if (yes) entrances.set(name, at)
    // Of two that are asked at first, one may have trouble of its own.
    else if (again) entrances.delete(name)
    onChange()
  }

  function recheck(): void {
    // Addresses that nobody sees us at any more are none of ours.
    const ips = new Set(sightings().map(({ seenAs }) => seenAs.ip))
    for (const [name, { ip, port: entrance }] of entrances)
      if (!ips.has(ip) || !openPorts().includes(entrance)) entrances.delete(name)
    const connections = [...seen.keys()]
    const one = connections[Math.floor(Math.random() * connections.length)]
    if (one !== undefined) checkEntrances(one, true)
  }

  function onIdentify({ detail: { connection, protocols } }: CustomEvent<IdentifyResult>): void {
    if (!connection.direct || connection.direction !== 'outbound' || !protocols.includes(reachProtocol))
      return
    // Who does not answer has said nothing.
    look(connection).catch(() => {})
  }

  async function dialMore(): Promise<void> {
    const strangers = witnesses()
      .filter((addr) => {
        const peer = peerOf(addr)
        return peer !== undefined && node.getConnections(peerIdFromString(peer)).length === 0
      })
      // Those at the head may be gone for good.
      .toSorted(() => Math.random() - 0.5)
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(dialMs)])
    await Promise.allSettled(strangers.slice(0, enough).map((addr) => node.dial(multiaddr(addr), { signal })))
  }

  async function keepLooking(): Promise<void> {
    await started
    let checkedAtMs = performance.now()
    let waitMs = lookAgainMs
    while (!stopped.aborted) {
      if (told() < enough) await dialMore()
      waitMs = told() < enough ? Math.min(longestLookMs, waitMs * 2) : lookAgainMs
      await sleep(waitMs, undefined, { signal: stopped, ref: false }).catch(() => {})
      if (performance.now() - checkedAtMs < recheckMs) continue
      checkedAtMs = performance.now()
      recheck()
    }
    node.removeEventListener('peer:identify', onIdentify)
  }

  node.addEventListener('peer:identify', onIdentify)
  const done = keepLooking()
  return {
    nat,
    sightings,
    best: () => bestSighting(sightings()),
    entrances: () => [...entrances.values()],
    async settled(signal) {
      while (nat() === 'unknown' && !signal.aborted) await answers.next('seen', signal)
    },
    async confirms(witness, peer, ip, signal) {
      const connection = node.getConnections(peerIdFromString(witness)).find(({ direct }) => direct)
      if (connection === undefined) return false
      const answer = ask(connection, { ask: 'confirm', peer, ip }, askMs, signal)
      return await answer.then((yes) => parseYes(yes) === true).catch(() => false)
    },
    recheck,
    done,
  }
}

export function peerOf(addr: string): PeerId | undefined {
  return /\/p2p\/([^/]+)$/.exec(addr)?.[1]
}

function ownIps(): Set<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((links) => links?.map((link) => link.address) ?? []),
  )
}
