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
  bootstrap: string[]
  listed: number
  nodes: number
  selling: number
}

const startMs = 120_000

/** The bundle must be built. Each run is a process of its own; the versions in between tell how fast the machine is. */
export async function measureSearch(bundle: string, times: number): Promise<SearchResults> {
  const home = await mkdtemp(join(tmpdir(), 'openseed-bench-search-'))
  const child = fork(fileURLToPath(new URL('servers/market.ts', import.meta.url)), {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const run = async (args: string[]) => {
    const startedAtMs = performance.now()
    const { stdout } = await promisify(execFile)(process.execPath, [bundle, ...args], {
      env: { ...process.env, OPENSEED_HOME: home },
    })
    return { ms: performance.now() - startedAtMs, stdout }
  }
  const search = async (args: string[]) => {
    const { ms, stdout } = await run(['search', ...args, '--json'])
    return { ms, found: (JSON.parse(stdout) as { rows: unknown[] }).rows.length }
  }
  try {
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout! }), 'line', { signal: AbortSignal.timeout(startMs) }),
      exited.then(() => Promise.reject(new Error('the market did not start'))),
    ])) as [string]
    const { url, bootstrap, ...market } = JSON.parse(line) as Market
    const warm = ['bench', '--network', 'local', '--registry', url]
    const cold = ['m', '--network', 'base-sepolia', '--trustless', '--allow-private']
    const servers = bootstrap.flatMap((addr) => ['--bootstrap', addr])
    await search(warm)
    // One kind after the other: a search of the DHT leaves the market's process busy for a while.
    const version: number[] = []
    const warmMs: number[] = []
    for (let round = 0; round < times; round += 1) {
      version.push((await run(['version'])).ms)
      warmMs.push((await search(warm)).ms)
    }
    const colds = []
    for (let round = 0; round < times; round += 1) colds.push(await search([...cold, ...servers]))
    return {
      ...market,
      versionMs: spread(version),
      warmMs: spread(warmMs),
      coldMs: spread(colds.map(({ ms }) => ms)),
      found: Math.min(...colds.map(({ found }) => found)),
    }
  } finally {
    child.kill('SIGTERM')
    await exited
    await rm(home, { recursive: true })
  }
}

if (import.meta.main) {
  const bundle = process.argv[2] ?? fileURLToPath(new URL('../dist/openseed.js', import.meta.url))
  console.log(JSON.stringify(await measureSearch(bundle, 10), null, 2))
}
