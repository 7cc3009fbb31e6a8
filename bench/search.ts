/** `openseed search` as a user runs it: from the start of the process to its end, on the built bundle. */
import { execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { SearchResults } from './results.ts'
import { spread } from './statistics.ts'

interface Market {
  url: string
  listed: number
}

interface Network {
  bootstrap: string[]
  nodes: number
  selling: number
}

const startMs = 120_000

/** The bundle must be built. Each run is a process of its own; the versions in between tell how fast the machine is. */
export async function measureSearch(bundle: string, times: number): Promise<SearchResults> {
  const home = await mkdtemp(join(tmpdir(), 'openseed-bench-search-'))
  const run = async (args: string[]) => {
    const startedAtMs = performance.now()
    const { stdout } = await promisify(execFile)(process.execPath, [bundle, ...args], {
      env: { ...process.env, OPENSEED_HOME: home, XDG_CACHE_HOME: home },
    })
    return { ms: performance.now() - startedAtMs, stdout }
  }
  const search = async (args: string[]) => {
    const { ms, stdout } = await run(['search', ...args, '--json'])
    return { ms, found: (JSON.parse(stdout) as { rows: unknown[] }).rows.length }
  }

  async function searchRegistry() {
    await using server = await startServer('market.ts')
    const { url, listed } = JSON.parse(server.line) as Market
    const args = ['bench', '--network', 'local', '--registry', url]
    await search(args)
    const version: number[] = []
    const warm: number[] = []
    for (let round = 0; round < times; round += 1) {
      version.push((await run(['version'])).ms)
      warm.push((await search(args)).ms)
    }
    return { listed, versionMs: spread(version), warmMs: spread(warm) }
  }

  async function searchDht() {
    await using server = await startServer('dht.ts')
    const { bootstrap, ...network } = JSON.parse(server.line) as Network
    const servers = bootstrap.flatMap((addr) => ['--bootstrap', addr])
    const args = ['m', '--network', 'base-sepolia', '--trustless', '--allow-private', ...servers]
    const runs = []
    for (let round = 0; round < times; round += 1) runs.push(await search(args))
    return {
      ...network,
      coldMs: spread(runs.map(({ ms }) => ms)),
      found: Math.min(...runs.map(({ found }) => found)),
    }
  }

  try {
    return { ...(await searchRegistry()), ...(await searchDht()) }
  } finally {
    await rm(home, { recursive: true })
  }
}

/** Starts a file of servers/ and waits for the one line that it prints when it is ready. */
async function startServer(file: string) {
  const child = fork(fileURLToPath(new URL(`servers/${file}`, import.meta.url)), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
  }
  try {
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout! }), 'line', { signal: AbortSignal.timeout(startMs) }),
      exited.then(() => Promise.reject(new Error(`${file} did not start`))),
    ])) as [string]
    return { line, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

if (import.meta.main) {
  const bundle = process.argv[2] ?? fileURLToPath(new URL('../dist/openseed.js', import.meta.url))
  console.log(JSON.stringify(await measureSearch(bundle, 10), null, 2))
}
