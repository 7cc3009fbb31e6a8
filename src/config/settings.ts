/** The one list of settings: what can be set, what it means, what it is when nobody says. */
import type { LogLevel } from '../base/log.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'
import { checksummed, type Address } from '../wire/hex.ts'
import { networkNames, type NetworkName } from './networks.ts'
import {
  address,
  boolean,
  httpUrl,
  integer,
  listenAddress,
  listOf,
  modelTable,
  oneOf,
  multiaddrText,
  registryName,
  text,
  usd,
  type ListenAddress,
  type ModelTerms,
} from './parse-setting.ts'

export interface Setting<T> {
  key: string
  meaning: string
  fallback: T
  parse(input: unknown): T
  /** How `openseed config list` shows it; secrets are masked here. */
  show(value: T): string
  /** Tables come from the file and from flags only. */
  noVariable?: true
}

type Shape<T> = Pick<Setting<T>, 'parse' | 'show'>

const optional = <T>({ parse, show }: Shape<T>): Shape<T | null> => ({
  parse,
  show: (value) => (value === null ? '' : show(value)),
})
const list = <T>({ parse, show }: Shape<T>): Shape<readonly T[]> => ({
  parse: listOf(parse),
  show: (values) => values.map(show).join(', '),
})
const count = (min: number, max: number): Shape<number> => ({ parse: integer(min, max), show: String })
const money: Shape<Usdc> = { parse: usd, show: formatUsd }
const url: Shape<string> = { parse: httpUrl, show: maskUrl }
const flag: Shape<boolean> = { parse: boolean, show: String }
const multiaddr: Shape<string> = { parse: multiaddrText, show: (addr) => addr }
const registry: Shape<string> = {
  parse: registryName,
  show: (value) => (value.includes('://') ? maskUrl(value) : value),
}
const secret: Shape<string> = { parse: text, show: () => '********' }
const wallet: Shape<Address> = { parse: address, show: checksummed }
const listen: Shape<ListenAddress> = {
  parse: listenAddress,
  show: ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
}
const models: Shape<Readonly<Record<string, ModelTerms>>> = {
  parse: modelTable,
  show: (table) => Object.keys(table).join(', '),
}

const setting = <T>(
  key: string,
  shape: Shape<T>,
  fallback: T,
  meaning: string,
  more: { noVariable?: true } = {},
): Setting<T> => ({ key, ...shape, fallback, meaning, ...more })

const day = 86_400
const mebibyte = 1024 * 1024
const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const satisfies readonly LogLevel[]

export const settings = {
  network: setting<NetworkName>(
    'network',
    { parse: oneOf(networkNames), show: (name) => name },
    'base-sepolia',
    `Which chain: ${networkNames.join(', ')}.`,
  ),
  rpcUrls: setting<readonly string[]>(
    'rpc_urls',
    list(url),
    [],
    "RPC endpoints, tried in order; empty means the network's public one.",
  ),
  logLevel: setting<LogLevel>(
    'log_level',
    { parse: oneOf(logLevels), show: (level) => level },
    'info',
    `How much is logged: ${logLevels.join(', ')}.`,
  ),
  registries: setting<readonly string[]>(
    'registries',
    list(registry),
    [],
    'Registries that sellers announce themselves to and buyers ask; a domain stands for those its DNS names.',
  ),
  buyPort: setting('buy.port', count(0, 65_535), 8402, 'Port of the local API; 0 takes any free one.'),
  buySellers: setting<readonly string[]>(
    'buy.sellers',
    list(url),
    [],
    'Base URLs of the sellers to buy from.',
  ),
  buyAllowPrivate: setting<boolean | null>(
    'buy.allow_private',
    optional(flag),
    null,
    'Whether registries may name sellers in private networks; empty means on the local chain only.',
  ),
  buyMaxPerRequest: setting('buy.max_per_request', money, 50_000n, 'The most one request may cost.'),
  buyMaxDeposit: setting(
    'buy.max_deposit_per_seller',
    money,
    2_000_000n,
    'The most one seller gets deposited.',
  ),
  buyMaxPerDay: setting('buy.max_per_day', money, 5_000_000n, 'The most that 24 hours may cost.'),
  buyMaxExposure: setting(
    'buy.max_exposure',
    money,
    1_000_000n,
    'The most one seller may hold signed beyond what it charged.',
  ),
  buyMaxUnresolved: setting(
    'buy.max_unresolved',
    money,
    250_000n,
    'Payments with unknown outcome above this sum stop new ones to that seller.',
  ),
  buyMaxBody: setting(
    'buy.max_body_bytes',
    count(1, 1024 * mebibyte),
    32 * mebibyte,
    'The largest request body.',
  ),
  buyFirstByte: setting(
    'buy.first_byte_timeout_sec',
    count(1, 3600),
    120,
    'The longest wait for an answer to begin.',
  ),
  buyIdle: setting('buy.idle_timeout_sec', count(1, 3600), 60, 'The longest silence inside an answer.'),
  sellListen: setting<ListenAddress>(
    'sell.listen',
    listen,
    { host: '127.0.0.1', port: 8403 },
    'Where the seller listens, as host:port.',
  ),
  sellEngines: setting<readonly string[]>(
    'sell.engines',
    list(url),
    [],
    'Base URLs of inference engines; empty means probing the usual local ports.',
  ),
  sellEngineKey: setting<string | null>(
    'sell.engine_key',
    optional(secret),
    null,
    'Bearer token the engines want.',
  ),
  sellPriceIn: setting('sell.price_in', money, 100_000n, 'USD per million prompt tokens.'),
  sellPriceOut: setting('sell.price_out', money, 400_000n, 'USD per million generated tokens.'),
  sellPriceCached: setting<Usdc | null>(
    'sell.price_cached',
    optional(money),
    null,
    'USD per million cached prompt tokens; empty means as for prompt tokens.',
  ),
  sellModels: setting<Readonly<Record<string, ModelTerms>>>(
    'sell.models',
    models,
    {},
    'A table per model with its own prices and limits.',
    { noVariable: true },
  ),
  sellMaxConcurrency: setting('sell.max_concurrency', count(1, 4096), 4, 'Requests served at the same time.'),
  sellPayTo: setting<Address | null>(
    'sell.pay_to',
    optional(wallet),
    null,
    "Address that earnings are paid to; empty means the wallet's own seller address.",
  ),
  sellPublicUrl: setting<string | null>(
    'sell.public_url',
    optional(url),
    null,
    'The URL under which buyers reach this seller.',
  ),
  sellAnnounce: setting('sell.announce', flag, true, 'Whether this seller is announced to the registries.'),
  sellTakeOver: setting(
    'sell.take_over',
    flag,
    false,
    'Announce although another seller does so with the same node key.',
  ),
  sellRegion: setting<string | null>(
    'sell.region',
    optional({ parse: text, show: (name) => name }),
    null,
    'Where this seller is, as announced; for example eu-west.',
  ),
  sellWithdrawDelay: setting(
    'sell.withdraw_delay_sec',
    count(900, 30 * day),
    day,
    'How long a buyer waits for its money when the seller does not answer.',
  ),
  sellMinDeposit: setting('sell.min_deposit', money, 100_000n, 'The smallest deposit worth its gas.'),
  sellClaimInterval: setting(
    'sell.claim_interval_sec',
    count(10, 7 * day),
    6 * 3600,
    'Earnings are claimed on chain at least this often.',
  ),
  sellClaimThreshold: setting(
    'sell.claim_threshold',
    money,
    2_000_000n,
    'Earnings above this sum are claimed at once.',
  ),
  sellMaxBody: setting(
    'sell.max_body_bytes',
    count(1, 1024 * mebibyte),
    32 * mebibyte,
    'The largest request body.',
  ),
  sellFirstByte: setting(
    'sell.first_byte_timeout_sec',
    count(1, 3600),
    120,
    'The longest wait for an engine to begin its answer.',
  ),
  sellIdle: setting(
    'sell.idle_timeout_sec',
    count(1, 3600),
    60,
    "The longest silence inside an engine's answer.",
  ),
  registryListen: setting<ListenAddress>(
    'registry.listen',
    listen,
    { host: '127.0.0.1', port: 8404 },
    'Where the registry listens, as host:port.',
  ),
  registryPeers: setting<readonly string[]>(
    'registry.peers',
    list(url),
    [],
    'Base URLs of registries to exchange news with.',
  ),
  registryDhtListen: setting<readonly string[]>(
    'registry.dht_listen',
    list(multiaddr),
    [],
    'Multiaddrs on which the registry serves the DHT, such as /ip4/0.0.0.0/tcp/8405; empty means not at all.',
  ),
  registryDhtBootstrap: setting<readonly string[]>(
    'registry.dht_bootstrap',
    list(multiaddr),
    [],
    'Multiaddrs of other DHT servers, each with its /p2p/ part.',
  ),
  registryAllowPrivate: setting<boolean | null>(
    'registry.allow_private',
    optional(flag),
    null,
    'Whether sellers in private networks are listed; empty means on the local chain only.',
  ),
  registryRequestRate: setting(
    'registry.requests_per_sec',
    count(1, 1_000_000),
    50,
    'How many requests a second one address may make for long; for a short time five times as many.',
  ),
  registryTrustForwarded: setting(
    'registry.trust_forwarded',
    flag,
    false,
    "Whether the last address in X-Forwarded-For is the client's: only behind a proxy that writes it.",
  ),
} as const

export const settingKeys: readonly string[] = Object.values(settings).map(({ key }) => key)

// An RPC or engine URL often carries its key in the path or the query.
function maskUrl(value: string): string {
  const { origin, pathname, search, username } = new URL(value)
  return pathname === '/' && !search && !username ? origin : `${origin}/…`
}
