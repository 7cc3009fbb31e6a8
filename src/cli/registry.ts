import type { Command } from 'commander'
import type { RegistryFacts } from '../node/run-registry.ts'
import type { Context, OpenContext } from './context.ts'
import { openRunLog } from './long-running.ts'
import {
  addSettingOptions,
  bootstrapOption,
  flagValuesOf,
  logOption,
  rpcOption,
  type SettingOption,
} from './setting-options.ts'
import { version } from './version.ts'

export const registryOptions: readonly SettingOption[] = [
  {
    flags: '--listen <host:port>',
    key: 'registry.listen',
    meaning: 'where to listen, 127.0.0.1:8404 by default',
  },
  {
    flags: '--peer <url>',
    key: 'registry.peers',
    meaning: 'a registry to exchange news with (repeatable)',
    repeat: true,
  },
  {
    flags: '--public-url <url>',
    key: 'registry.public_url',
    meaning: 'where others reach this registry, as it tells them',
  },
  {
    flags: '--p2p-listen <multiaddr>',
    key: 'registry.p2p_listen',
    meaning: 'serve the DHT and relay here, /ip4/0.0.0.0/tcp/8406 by default (repeatable)',
    repeat: true,
  },
  {
    flags: '--p2p-announce <multiaddr>',
    key: 'registry.p2p_announce',
    meaning: 'tell others this address instead (repeatable)',
    repeat: true,
  },
  bootstrapOption,
  {
    flags: '--allow-private',
    key: 'registry.allow_private',
    meaning: 'list sellers in private networks too',
  },
  {
    flags: '--requests-per-sec <count>',
    key: 'registry.requests_per_sec',
    meaning: 'how often one address may ask',
  },
  {
    flags: '--trust-forwarded',
    key: 'registry.trust_forwarded',
    meaning: "take the client's address from the proxy's X-Forwarded-For",
  },
  rpcOption,
  logOption,
]

export function addRegistry(program: Command, open: OpenContext): void {
  const registry = program.command('registry').summary('help sellers and buyers find each other')
  registry.description(
    'Keep a list of sellers and answer who sells what. Needs no wallet, stores nothing but its own key and is believed by nobody: it repeats what sellers signed. Stop it with Ctrl-C.',
  )
  addSettingOptions(registry, registryOptions)
  registry.action((given: Record<string, unknown>) => run(open(), given))
}

async function run(context: Context, given: Record<string, unknown>): Promise<void> {
  const config = await context.loadConfig(flagValuesOf(given, registryOptions))
  const { runRegistry } = await import('../node/run-registry.ts')
  const { print, io } = context
  const ready = (facts: RegistryFacts) =>
    print.answer(facts, () =>
      [
        `Listing sellers of ${facts.network} at ${print.strong(facts.url)} as ${facts.peer}.`,
        ...facts.peers.map((url) => `Exchanging news with ${url}`),
        ...facts.dht.map((addr) => `DHT server and relay: ${addr}`),
        '',
        `Sellers announce themselves with: openseed sell --registry ${facts.url}`,
        `Buyers find them with: openseed buy --registry ${facts.url}`,
      ].join('\n'),
    )
  const log = await openRunLog(context, config)
  await runRegistry(config, { log, build: `openseed/${version}`, ready, signal: io.signal })
}
