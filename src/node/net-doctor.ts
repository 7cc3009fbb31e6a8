/** `openseed doctor net`: how a seller of this home is reached; asks the running one, or looks from here. */
import { randomBytes } from 'node:crypto'
import { systemClock } from '../base/clock.ts'
import type { Config } from '../config/config.ts'
import { openHost, type Host } from '../net/p2p/open-host.ts'
import { nodeKeyOf } from '../wire/node-key.ts'
import { callControl } from './control.ts'
import { askIndexes } from './known-peers.ts'
import { netReport, type NetReport } from './net-report.ts'
import { readKnownPeers } from './read-known-peers.ts'
import { openRegistries } from './open-registries.ts'
import { addrsToTell } from './seller-addrs.ts'

export interface NetDiagnosis extends NetReport {
  /** False: no seller runs here, and what is said is what a new node saw from this machine. */
  running: boolean
  /** Each registry of the settings, and whether it answered; none where a running seller was asked. */
  registries: { url: string; answers: boolean }[]
}

const askMs = 5_000
const lookMs = 12_000
// Whoever is asked to knock gives up before that, and the slower routers have opened a port.
const shutMs = 7_000

export async function diagnoseNet(config: Config, signal: AbortSignal): Promise<NetDiagnosis> {
  const answer = await callControl(config.paths.seller, 'net', {}, signal)
  // Of this home's own process.
  if (answer !== null) return { ...(answer.value as NetReport), running: true, registries: [] }
  return look(config, signal)
}

async function look(config: Config, signal: AbortSignal): Promise<NetDiagnosis> {
  const { p2p, sell, buy } = config
  const { allowPrivate } = buy
  const { registries, addrs } = await askRegistries(config, signal)
  if (sell.p2pListen.length === 0) return { ...netReport(null, null), running: false, registries }
  const known = [
    ...new Set([...p2p.bootstrap, ...addrs, ...(await readKnownPeers(config.paths, allowPrivate))]),
  ]
  // A name of the moment: nobody is to remember it, and no relay keeps a place for it.
  const key = nodeKeyOf(randomBytes(32))
  await using host = await openHost({
    key,
    listen: sell.p2pListen,
    announce: sell.p2pAnnounce,
    bootstrap: known,
    server: false,
    allowPrivate,
    portMapping: p2p.portMapping,
    punch: p2p.punch,
    onConnection: (socket) => socket.destroy(),
    now: systemClock,
  })
  if (known.length > 0) await settle(host, AbortSignal.any([signal, AbortSignal.timeout(lookMs)]))
  signal.throwIfAborted()
  const report = netReport(host, {
    peer: key.peerId,
    addrs: addrsToTell(host, allowPrivate),
    isOn: true,
    dht: null,
    isTrial: true,
  })
  return { ...report, peer: null, running: false, registries }
}

/** Until somebody got in, or it is clear that nobody does. */
async function settle(host: Host, late: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let timer: NodeJS.Timeout | undefined
  const look = () => {
    const { state, nat } = host.reachability()
    if (state === 'public') resolve()
    else if (nat !== 'unknown') timer ??= setTimeout(resolve, shutMs)
  }
  const stop = host.onReachability(look)
  late.addEventListener('abort', () => resolve(), { once: true })
  look()
  await promise
  clearTimeout(timer)
  stop()
}

async function askRegistries({ registries, buy }: Config, signal: AbortSignal) {
  const { allowPrivate } = buy
  const clients = await openRegistries(registries, { allowPrivate, signal }).catch(() => [])
  const within = AbortSignal.any([signal, AbortSignal.timeout(askMs)])
  const asked = await Promise.all(
    clients.map(async (client) => {
      await using _ = client
      const { addrs, answered } = await askIndexes([client], { allowPrivate, signal: within })
      return { url: client.url, answers: answered > 0, addrs }
    }),
  )
  return {
    registries: asked.map(({ url, answers }) => ({ url, answers })),
    addrs: asked.flatMap(({ addrs }) => addrs),
  }
}
