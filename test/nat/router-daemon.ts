/** A router that opens ports for who asks: miniupnpd, as home routers run it. */
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { insideOf, type Side } from './lab.ts'

export interface RouterDaemon extends AsyncDisposable {
  /** The rules by which ports are handed on now. */
  mappings(): Promise<string[]>
}

export const daemon = 'miniupnpd'

const chains = `
  table inet filter {
    chain forward { type filter hook forward priority -10; policy accept; jump miniupnpd; }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 110; policy accept; jump postrouting_miniupnpd; }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
  }
  add rule inet guard forward ct status dnat accept`

export async function startRouterDaemon({ router }: Side, speaks: 'upnp' | 'nat-pmp'): Promise<RouterDaemon> {
  const [program, inside] = insideOf(router!)
  const run = promisify(execFile)
  const folder = await mkdtemp(join(tmpdir(), 'openseed-router-'))
  const file = join(folder, 'miniupnpd.conf')
  const settings = {
    ext_ifname: 'out',
    listening_ip: 'in',
    port: 0,
    enable_upnp: speaks === 'upnp' ? 'yes' : 'no',
    enable_natpmp: speaks === 'nat-pmp' ? 'yes' : 'no',
    secure_mode: 'yes',
    system_uptime: 'yes',
    force_igd_desc_v1: 'yes',
    lease_file: join(folder, 'leases'),
    uuid: randomUUID(),
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(file, [...lines, 'allow 1024-65535 192.168.0.0/16 1024-65535\n'].join(''))
  await run(program, [...inside, 'nft', chains])
  const child = spawn(program, [...inside, daemon, '-d', '-f', file, '-P', join(folder, 'pid')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  child.stdout.resume()
  child.stderr.resume()
  return {
    async mappings() {
      const { stdout } = await run(program, [
        ...inside,
        'nft',
        'list',
        'chain',
        'inet',
        'filter',
        'prerouting_miniupnpd',
      ])
      return stdout.split('\n').filter((line) => line.includes('dnat'))
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true })
    },
  }
}
