import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadConfig, type FlagValues } from './config.ts'
import { readEnv } from './env.ts'
import { networks } from './networks.ts'
import { openBasePaths } from './paths.ts'
import { settings } from './settings.ts'

let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'config-'))
})

afterEach(() => rm(home, { recursive: true }))

const writeToml = (content: string) => writeFile(join(home, 'config.toml'), content)
const load = (variables: Record<string, string> = {}, flags: FlagValues = {}) =>
  loadConfig(readEnv({ OPENSEED_HOME: home, ...variables }), flags)
const lineOf = (config: ReturnType<typeof load>, key: string) => config.lines.find((line) => line.key === key)

test('without any word from the user the caps are small and the network is the test network', () => {
  const { network, buy, sell } = load()
  expect(network).toBe(networks['base-sepolia'])
  expect(buy).toMatchObject({
    port: 8402,
    maxPerRequest: 50_000n,
    maxDepositPerSeller: 2_000_000n,
    maxPerDay: 5_000_000n,
  })
  expect(sell.listen).toEqual({ host: '127.0.0.1', port: 8403 })
})

test('a flag wins over a variable, which wins over the file, which wins over the default', async () => {
  await writeToml('network = "local"\n[buy]\nport = 1\nmax_per_day = 0.5\nmax_per_request = "0.01"\n')
  const config = load(
    { OPENSEED_BUY_PORT: '2', OPENSEED_BUY_MAX_PER_DAY: '3' },
    { 'buy.port': { flag: '--port', value: '4' } },
  )
  expect(config.buy).toMatchObject({ port: 4, maxPerDay: 3_000_000n, maxPerRequest: 10_000n })
  expect(lineOf(config, 'buy.port')).toEqual({ key: 'buy.port', value: '4', origin: '--port' })
  expect(lineOf(config, 'buy.max_per_day')?.origin).toBe('OPENSEED_BUY_MAX_PER_DAY')
  expect(lineOf(config, 'network')?.origin).toBe(join(home, 'config.toml'))
  expect(lineOf(config, 'log_level')?.origin).toBe('default')
})

test('every setting is listed once', () => {
  const keys = load().lines.map(({ key }) => key)
  expect(keys.toSorted()).toEqual(
    Object.values(settings)
      .map(({ key }) => key)
      .toSorted(),
  )
})

test('a setting that does not exist is refused with the nearest one that does', async () => {
  await writeToml('[buy]\nmax_per_dya = "5"\n')
  expect(() => load()).toThrow(
    expect.objectContaining({ code: 'config_invalid', hint: 'Did you mean buy.max_per_day?' }),
  )
})

test('a variable that stands for no setting is refused as well', () => {
  expect(() => load({ OPENSEED_BUY_MAX_PER_DAYS: '5' })).toThrow(
    expect.objectContaining({ code: 'config_invalid', hint: 'Did you mean OPENSEED_BUY_MAX_PER_DAY?' }),
  )
})

test.each([
  ['buy.port', '70000'],
  ['buy.port', '-1'],
  ['buy.max_per_request', '0.0000001'],
  ['buy.max_per_request', '-1'],
  ['buy.sellers', ['ftp://x']],
  ['sell.listen', 'nowhere'],
  ['sell.pay_to', '0x12'],
  ['sell.withdraw_delay_sec', '899'],
  ['network', 'mainnet'],
])('%s cannot be %s, and the refusal names the flag', (key, value) => {
  expect(() => load({}, { [key]: { flag: '--some-flag', value } })).toThrow(
    expect.objectContaining({
      code: 'config_invalid',
      message: expect.stringContaining(`${key} (--some-flag)`) as string,
    }),
  )
})

test('a file that is no TOML is refused with its place', async () => {
  await writeToml('[buy\n')
  expect(() => load()).toThrow(
    expect.objectContaining({ message: expect.stringContaining('config.toml') as string }),
  )
})

test('real money has a deposit limit that config cannot pass', () => {
  expect(() => load({ OPENSEED_NETWORK: 'base', OPENSEED_BUY_MAX_DEPOSIT_PER_SELLER: '51' })).toThrow(
    /allows \$50/,
  )
})

test('lists come as repeated flags, as a variable with commas and as an array', async () => {
  await writeToml('[buy]\nsellers = ["http://a"]\n')
  expect(load().buy.sellers).toEqual(['http://a'])
  expect(load({ OPENSEED_BUY_SELLERS: 'http://b/, http://c' }).buy.sellers).toEqual(['http://b', 'http://c'])
  const flags = { 'buy.sellers': { flag: '--seller', value: ['http://d'] } }
  expect(load({}, flags).buy.sellers).toEqual(['http://d'])
})

test('a price for one model on the command line leaves the file in force for the others', async () => {
  await writeToml('[sell.models."a:1b"]\nprice_in = "1"\nmax_output = 10\n[sell.models.b]\nprice_in = 2\n')
  const flags = { 'sell.models': { flag: '--price-in', value: { 'a:1b': { price_in: '3' } } } }
  expect(load({}, flags).sell.models).toEqual({
    'a:1b': { priceIn: 3_000_000n, maxOutput: 10 },
    b: { priceIn: 2_000_000n },
  })
})

test('an unknown field of a model is refused', async () => {
  await writeToml('[sell.models.a]\nprice = "1"\n')
  expect(() => load()).toThrow(/"a" has "price"/)
})

test('secrets are masked where settings are shown', async () => {
  await writeToml('rpc_urls = ["https://rpc.example/v2/secret-key"]\n[sell]\nengine_key = "hush"\n')
  const config = load()
  expect(config.sell.engineKey).toBe('hush')
  expect(config.network.rpcUrls).toEqual(['https://rpc.example/v2/secret-key'])
  expect(JSON.stringify(config.lines)).not.toMatch(/hush|secret-key/)
})

test('without a home the platform decides where things lie', () => {
  const env = readEnv({ HOME: '/home/u', XDG_STATE_HOME: '/state' })
  expect(openBasePaths(env, undefined, 'linux')).toEqual({
    configFile: '/home/u/.config/openseed/config.toml',
    keystore: '/home/u/.local/share/openseed/keystore',
    state: '/state/openseed',
  })
  expect(openBasePaths(env, undefined, 'darwin').state).toBe('/home/u/Library/Application Support/openseed')
})

test('channels of different networks are kept apart, keys are shared', () => {
  const sepolia = load().paths
  const local = load({ OPENSEED_NETWORK: 'local' }).paths
  expect(local.buyer).not.toBe(sepolia.buyer)
  expect(local.keystore).toBe(sepolia.keystore)
})

test('a configuration cannot be changed after it was read', () => {
  const config = load()
  expect(() => Object.assign(config.buy, { port: 1 })).toThrow(TypeError)
  expect(() => Object.assign(config.network.terms, { chainId: 1 })).toThrow(TypeError)
})

test('registries are URLs or domains, from anywhere a list may come from', async () => {
  await writeToml('registries = ["https://a.example/", "OpenSeed.example"]\n')
  expect(load().registries).toEqual(['https://a.example', 'openseed.example'])
  expect(load({ OPENSEED_REGISTRIES: 'http://127.0.0.1:8404,b.example' }).registries).toEqual([
    'http://127.0.0.1:8404',
    'b.example',
  ])
  expect(() => load({ OPENSEED_REGISTRIES: 'not a registry' })).toThrow('or a domain')
})

test('sellers in private networks are taken on the local chain, and elsewhere only when told', () => {
  expect(load().buy.allowPrivate).toBe(false)
  expect(load({ OPENSEED_NETWORK: 'local' }).buy.allowPrivate).toBe(true)
  expect(load({ OPENSEED_NETWORK: 'local', OPENSEED_BUY_ALLOW_PRIVATE: 'false' }).buy.allowPrivate).toBe(
    false,
  )
  expect(load({}, { 'buy.allow_private': { flag: '--allow-private', value: true } }).buy.allowPrivate).toBe(
    true,
  )
  expect(() => load({ OPENSEED_BUY_ALLOW_PRIVATE: 'perhaps' })).toThrow('true or false')
})

const peer = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

test('sellers and registries take connections of peers unless told not to; buyers need none', () => {
  const { p2p, buy, sell, registry } = load()
  expect(p2p).toEqual({ bootstrap: [], portMapping: true, punch: true, lan: false })
  expect(sell.p2pListen).toEqual(['/ip4/0.0.0.0/tcp/8405'])
  expect(registry.p2pListen).toEqual(['/ip4/0.0.0.0/tcp/8406'])
  expect(buy).toMatchObject({ p2pListen: [], allowPlainHttp: false, trustless: false })
})

test('an empty list of addresses is an empty array in the file and the word none elsewhere', async () => {
  expect(load({ OPENSEED_SELL_P2P_LISTEN: 'none' }).sell.p2pListen).toEqual([])
  const flags = { 'sell.p2p_listen': { flag: '--p2p-listen', value: ['none'] } }
  expect(load({}, flags).sell.p2pListen).toEqual([])
  await writeToml('[sell]\np2p_listen = []\np2p_announce = ["/dns4/seller.example/tcp/8405"]\n')
  expect(load().sell).toMatchObject({ p2pListen: [], p2pAnnounce: ['/dns4/seller.example/tcp/8405'] })
})

test('a node to begin with is named with its peer', () => {
  const addr = `/dns4/registry.example/tcp/8406/p2p/${peer}`
  expect(load({ OPENSEED_P2P_BOOTSTRAP: addr }).p2p.bootstrap).toEqual([addr])
  expect(() => load({ OPENSEED_P2P_BOOTSTRAP: '/ip4/9.9.9.9/tcp/8406' })).toThrow('with its peer')
  expect(() => load({ OPENSEED_SELL_P2P_LISTEN: '8405' })).toThrow('a TCP multiaddr')
})
