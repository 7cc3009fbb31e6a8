/** A small internet in network namespaces: public addresses, NATs of several kinds, and hosts behind them. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * `cone` keeps ports, `symmetric` picks one for each destination, `double` is a cone behind a cone. Those of IPv6 have
 * no NAT and no IPv4: `firewall6` is behind a router that lets in only answers.
 */
export type SideKind = NatKind | 'public6' | 'firewall6'
export type NatKind = 'public' | 'cone' | 'symmetric' | 'double'

export const natKinds: readonly NatKind[] = ['public', 'cone', 'symmetric', 'double']

export interface Side {
  kind: SideKind
  /** The namespace that its programs run in. */
  namespace: string
  /** The address others see. */
  publicIp: string
  /** The namespace of the router next to it; null where there is none. */
  router: string | null
  /** Drops on its cable what comes in, at both ends, without a word to either; again to let it pass. */
  cable: { cut(): Promise<void>; mend(): Promise<void> }
}

export interface Lab extends AsyncDisposable {
  /** The namespace of what is in the middle, with all of `ips` and `ips6`. */
  middle: { namespace: string; ips: readonly string[]; ips6: readonly string[] }
  addSide(kind: SideKind): Promise<Side>
  /** Takes the host of a side to another network, as who carries a laptop away. What the side was is no more. */
  move(side: Side, kind: SideKind): Promise<Side>
}

const prefix = 'openseed-nat'
// Public ones, so that nothing needs to be told to accept them; they lead nowhere but into the lab.
const net = '44.31'
const middleIps = [`${net}.0.1`, `${net}.0.2`]
const net6 = '2a10:3131'
const middleIps6 = [`${net6}::1`, `${net6}::2`]

/** Why there can be no lab here; null when there can. */
export async function whyNoLab(): Promise<string | null> {
  if (process.platform !== 'linux') return 'network namespaces need Linux'
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const missing = ['ip', 'nft'].find((tool) => !isInstalled(tool))
  if (missing !== undefined) return `${missing} is not installed (Debian: iproute2, nftables)`
  const probe = `${prefix}-${process.pid}-probe`
  try {
    await ip('netns', 'add', probe)
    await ip('netns', 'delete', probe)
    return null
  } catch (error) {
    return `this machine refuses network namespaces (${(error as Error).message.trim().split('\n').at(-1)})`
  }
}

export function isInstalled(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(`${folder}/${tool}`))
}

export async function openLab(): Promise<Lab> {
  await sweep()
  const id = `${prefix}-${process.pid}-${Math.random().toString(36).slice(2, 6)}`
  const namespaces: string[] = []

  async function addNamespace(name: string): Promise<string> {
    const namespace = `${id}-${name}`
    await ip('netns', 'add', namespace)
    namespaces.push(namespace)
    await ip('-n', namespace, 'link', 'set', 'lo', 'up')
    return namespace
  }

  const dispose = async () => {
    for (const namespace of namespaces) await remove(namespace)
  }

  try {
    const middle = await addNamespace('middle')
    await ip('-n', middle, 'link', 'add', 'net', 'type', 'bridge')
    for (const address of middleIps) await ip('-n', middle, 'address', 'add', `${address}/16`, 'dev', 'net')
    for (const address of middleIps6) await addIpv6(middle, `${address}/32`, 'net')
    await ip('-n', middle, 'link', 'set', 'net', 'up')
    let sides = 0

    /** Gives `namespace` a public address on an interface named `out`; resolves with the cable to there. */
    async function plugIn(namespace: string, address: string, number: number): Promise<Side['cable']> {
      const plug = `plug${number}`
      await ip('-n', middle, 'link', 'add', plug, 'type', 'veth', 'peer', 'name', 'out', 'netns', namespace)
      await ip('-n', middle, 'link', 'set', plug, 'master', 'net', 'up')
      if (isIPv6(address)) await addIpv6(namespace, `${address}/32`, 'out')
      else await ip('-n', namespace, 'address', 'add', `${address}/16`, 'dev', 'out')
      await ip('-n', namespace, 'link', 'set', 'out', 'up')
      const ends = [
        [middle, plug],
        [namespace, 'out'],
      ] as const
      return {
        async cut() {
          for (const [there, device] of ends) await inside(there, 'nft', dropRules(device))
        },
        async mend() {
          for (const [there, device] of ends)
            await inside(there, 'nft', 'delete', 'table', 'netdev', `cut-${device}`)
        },
      }
    }

    /** Puts a namespace behind `router`, which becomes a NAT. Both have their ends named `out` and `in`. */
    async function plugBehind(router: string, inner: string, subnet: string, keepsPorts: boolean) {
      await ip('-n', router, 'link', 'add', 'in', 'type', 'veth', 'peer', 'name', 'out', 'netns', inner)
      await ip('-n', router, 'address', 'add', `${subnet}.1/24`, 'dev', 'in')
      await ip('-n', router, 'link', 'set', 'in', 'up')
      await ip('-n', inner, 'address', 'add', `${subnet}.2/24`, 'dev', 'out')
      await ip('-n', inner, 'link', 'set', 'out', 'up')
      await ip('-n', inner, 'route', 'add', 'default', 'via', `${subnet}.1`)
      await inside(router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
      await inside(router, 'nft', natRules(keepsPorts))
    }

    /** Puts a namespace behind `router`, which passes on what it does not refuse, and answers for it outside. */
    async function plugBehindFirewall(router: string, inner: string, subnet: string): Promise<string> {
      const address = `${subnet}::2`
      await ip('-n', router, 'link', 'add', 'in', 'type', 'veth', 'peer', 'name', 'out', 'netns', inner)
      await addIpv6(router, `${subnet}::1/64`, 'in')
      await ip('-n', router, 'link', 'set', 'in', 'up')
      await addIpv6(inner, `${address}/64`, 'out')
      await ip('-n', inner, 'link', 'set', 'out', 'up')
      await ip('-n', inner, 'route', 'add', 'default', 'via', `${subnet}::1`)
      await inside(
        router,
        'sh',
        '-c',
        'cd /proc/sys/net/ipv6/conf; echo 1 | tee all/forwarding out/proxy_ndp',
      )
      await ip('-n', router, 'neighbour', 'add', 'proxy', address, 'dev', 'out')
      await inside(router, 'nft', guardRules)
      return address
    }

    async function build6(kind: 'public6' | 'firewall6', number: number, host?: string): Promise<Side> {
      const namespace = host ?? (await addNamespace(`${number}-${kind}`))
      const outside = `${net6}:${number}::1`
      if (kind === 'public6') {
        const cable = await plugIn(namespace, outside, number)
        return { kind, publicIp: outside, namespace, router: null, cable }
      }
      const router = await addNamespace(`${number}-router`)
      const cable = await plugIn(router, outside, number)
      const publicIp = await plugBehindFirewall(router, namespace, `${net6}:${number}:1`)
      return { kind, publicIp, namespace, router, cable }
    }

    async function build(kind: SideKind, host?: string): Promise<Side> {
      sides += 1
      const number = sides
      if (kind === 'public6' || kind === 'firewall6') return await build6(kind, number, host)
      const publicIp = `${net}.${number}.1`
      const namespace = host ?? (await addNamespace(`${number}-${kind}`))
      if (kind === 'public') {
        const cable = await plugIn(namespace, publicIp, number)
        return { kind, publicIp, namespace, router: null, cable }
      }
      const outer = await addNamespace(`${number}-router`)
      const cable = await plugIn(outer, publicIp, number)
      const router = kind === 'double' ? await addNamespace(`${number}-inner`) : outer
      if (router !== outer) await plugBehind(outer, router, '100.64.1', true)
      await plugBehind(router, namespace, `192.168.${number}`, kind !== 'symmetric')
      return { kind, publicIp, namespace, router, cable }
    }

    return {
      middle: { namespace: middle, ips: middleIps, ips6: middleIps6 },
      addSide: (kind) => build(kind),
      async move({ namespace }, kind) {
        await ip('-n', namespace, 'link', 'delete', 'out')
        return await build(kind, namespace)
      },
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}

/** The command line that runs a command in a namespace. */
export function insideOf(namespace: string): [string, string[]] {
  return ['ip', ['netns', 'exec', namespace]]
}

function dropRules(device: string): string {
  return `
    table netdev cut-${device} {
      chain in { type filter hook ingress device "${device}" priority 0; policy drop; }
    }`
}

// What comes in without having been asked for is dropped without a word, as home routers do; but for what IPv6 needs.
const guardRules = `
    table inet guard {
      chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "in" oifname "out" accept
      }
      chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname { "in", "lo" } accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
      }
    }`

function natRules(keepsPorts: boolean): string {
  return `
    table ip nat {
      chain out { type nat hook postrouting priority 100; oifname "out" masquerade ${keepsPorts ? 'persistent' : 'fully-random'}; }
    }
    ${guardRules}`
}

/** Usable at once: nobody else has it. */
async function addIpv6(namespace: string, address: string, device: string): Promise<void> {
  await ip('-n', namespace, '-6', 'address', 'add', address, 'dev', device, 'nodad')
}

/** Removes what runs that were killed have left behind. */
async function sweep(): Promise<void> {
  const { stdout } = await ip('netns', 'list')
  for (const line of stdout.split('\n')) {
    const [namespace = ''] = line.split(' ')
    const [, pid] = new RegExp(`^${prefix}-(\\d+)-`).exec(namespace) ?? []
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await remove(namespace)
  }
}

async function remove(namespace: string): Promise<void> {
  const { stdout } = await ip('netns', 'pids', namespace).catch(() => ({ stdout: '' }))
  for (const pid of stdout.split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
  await ip('netns', 'delete', namespace).catch(() => {})
}

function ip(...args: string[]): Promise<{ stdout: string }> {
  return run('ip', args)
}

function inside(namespace: string, ...command: string[]): Promise<{ stdout: string }> {
  const [program, args] = insideOf(namespace)
  return run(program, [...args, ...command])
}
