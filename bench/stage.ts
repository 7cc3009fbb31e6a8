/** Everything that is measured, as processes on loopback: engine, proxy, and the built bundle's own `sell` and `buy`. */
import { rmSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBundle } from '../scripts/build.ts'
import { startAnvil } from '../src/chain/anvil.ts'
import { deployLocal } from '../src/chain/local.ts'
import { networks } from '../src/config/networks.ts'
import { openKeystore } from '../src/node/keystore.ts'
import { startChild, type Child, type ChildStart } from './child.ts'
import type { ProcessName, TargetName } from './results.ts'

export interface Target {
  name: TargetName
  url: string
  /** those that work for it */
  children: readonly Child[]
}

export interface Stage extends AsyncDisposable {
  folder: string
  bundle: string
  children: readonly Child[]
  targets: readonly Target[]
  buyer: Child
  /** `openseed buy` as it was started, to start it again. */
  buy: { args: string[]; env: Record<string, string> }
}

const password = 'bench'
const ether = 10n ** 18n

/** With a folder for profiles, every process writes its own there when it ends. */
export async function openStage(profile?: string): Promise<Stage> {
  await using cleanup = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'openseed-bench-'))
  // Also after Ctrl-C, when the processes that write there may still be ending.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  const bundle = join(folder, 'bundle', 'openseed.js')
  await buildBundle(join(folder, 'bundle'))
  // As in the installed package: Node would look into every file for what kind of module it is.
  await writeFile(join(folder, 'bundle', 'package.json'), '{"type":"module"}')

  const { chainId } = networks.local.terms
  const anvil = cleanup.use(await startAnvil({ chainId }))
  const home = join(folder, 'home')
  // A low work factor: what unlocking costs by design is no cost of ours.
  const keys = await openKeystore(join(home, 'keystore'), { scryptN: 1024 }).create(password)
  await deployLocal(anvil.url, {
    chainId,
    canonical: true,
    funded: [
      { address: keys.payer, usdc: 1_000_000_000n },
      { address: keys['seller-authorizer'], eth: ether },
    ],
  })
  const env = {
    OPENSEED_HOME: home,
    OPENSEED_PASSWORD: password,
    NODE_ENV: 'production',
    XDG_CACHE_HOME: join(folder, 'cache'),
  }
  const general = ['--network', 'local', '--json']
  const chain = ['--rpc-url', anvil.url, '--log-level', 'warn']

  const start = async (name: ProcessName, given: ChildStart) =>
    cleanup.use(await startChild(name, { ...given, profile }))
  const engine = await start('engine', { file: serverFile('engine') })
  const proxy = await start('proxy', { file: serverFile('proxy'), args: [engine.url] })
  const sell = ['--engine', engine.url, '--listen', '127.0.0.1:0', '--max-concurrency', '256']
  // One deposit and no claim while it is measured: neither belongs to a request.
  const money = ['--min-deposit', '100', '--claim-threshold', '1000']
  const seller = await start('seller', {
    file: bundle,
    args: [...general, 'sell', ...chain, ...sell, ...money],
    env,
  })
  const caps = ['--max-deposit-per-seller', '500', '--max-per-day', '1000']
  const buy = [...general, 'buy', ...chain, '--seller', seller.url, '--port', '0', ...caps]
  const buyer = await start('buyer', { file: bundle, args: buy, env })

  const resources = cleanup.move()
  return {
    folder,
    bundle,
    children: [engine, proxy, seller, buyer],
    targets: [
      { name: 'direct', url: engine.url, children: [engine] },
      { name: 'proxy', url: proxy.url, children: [engine, proxy] },
      { name: 'paid', url: buyer.url, children: [engine, seller, buyer] },
    ],
    buyer,
    buy: { args: buy, env },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

const serverFile = (name: string) => fileURLToPath(new URL(`servers/${name}.ts`, import.meta.url))
