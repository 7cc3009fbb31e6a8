/** Asks the router to hand on the ports that this host listens on, and takes it back at the end. */
import { setTimeout as sleep } from 'node:timers/promises'
import { judgeIp } from '../../wire/address-policy.ts'
import { defaultGateway } from './default-gateway.ts'
import type { Endpoint } from './nat-type.ts'
import { findPmpRouter } from './port-mapping-pmp.ts'
import { findUpnpRouter } from './port-mapping-upnp.ts'

/** A router that opens ports for who asks it. */
export interface Router {
  /** Hands a port of ours on; resolves with where it can be reached. Throws when the router will not. */
  map(port: number, lifetimeSec: number, signal: AbortSignal): Promise<Endpoint>
  /** Takes back what was mapped. */
  unmap(port: number, signal: AbortSignal): Promise<void>
}

export interface PortMappingParts {
  /** Asked for when `started` has resolved. */
  ports: () => readonly number[]
  started: Promise<unknown>
  stopped: AbortSignal
  allowPrivate: boolean
  /** Called when `mapped()` has changed. */
  onChange: () => void
  findRouter?: (signal: AbortSignal) => Promise<Router | null>
}

export interface PortMapping {
  /** Where the router says that this host can be reached. Whether it can is another question. */
  mapped(): readonly Endpoint[]
  /** Settles when the host has stopped and the router was told to forget. */
  done: Promise<void>
}

// Long enough to be asked seldom, short enough to end soon when this process is killed.
const lifetimeSec = 3_600
const renewMs = (lifetimeSec * 1000) / 2
const retryMs = 10 * 60_000
const askMs = 10_000
const forgetMs = 2_000

export function openPortMapping(parts: PortMappingParts): PortMapping {
  const { ports, started, stopped, allowPrivate, onChange, findRouter = findAnyRouter } = parts
  let mapped: Endpoint[] = []

  async function keepMapped(): Promise<void> {
    await started
    let router: Router | null = null
    const asked = new Map<number, Router>()
    while (!stopped.aborted && ports().length > 0) {
      const signal = AbortSignal.any([stopped, AbortSignal.timeout(askMs)])
      router ??= await findRouter(signal).catch(() => null)
      const given: Endpoint[] = []
      for (const port of ports()) {
        if (router === null) break
        // Noted before the answer: one that is lost leaves a mapping, too.
        asked.set(port, router)
        const outside = await router.map(port, lifetimeSec, signal).catch(() => null)
        // A router behind a router gives what is of no use.
        if (outside !== null && (judgeIp(outside.ip) === 'public' || allowPrivate)) given.push(outside)
      }
      const isNews = JSON.stringify(given) !== JSON.stringify(mapped)
      mapped = given
      if (isNews) onChange()
      // Whoever does not answer any more is looked for anew.
      if (given.length === 0) router = null
      await sleep(given.length > 0 ? renewMs : retryMs, undefined, { signal: stopped, ref: false }).catch(
        () => {},
      )
    }
    const forgetting = AbortSignal.timeout(forgetMs)
    await Promise.allSettled([...asked].map(([port, holder]) => holder.unmap(port, forgetting)))
  }

  return { mapped: () => mapped, done: keepMapped() }
}

async function findAnyRouter(signal: AbortSignal): Promise<Router | null> {
  const gateway = await defaultGateway()
  if (gateway === null) return null
  const [pmp, upnp] = await Promise.all([
    findPmpRouter(gateway, signal),
    findUpnpRouter(signal).catch(() => null),
  ])
  return pmp ?? upnp
}
