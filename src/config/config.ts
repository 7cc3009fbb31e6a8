/** Flags > environment > config.toml > defaults, into one frozen value that knows where each setting came from. */
import { readFileSync } from 'node:fs'
import { parse as parseToml } from 'smol-toml'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import { formatUsd } from '../wire/amount.ts'
import { envName, type Env } from './env.ts'
import { networks, type NetworkPreset } from './networks.ts'
import { isTable } from './parse-setting.ts'
import { openBasePaths, pathsOf, type Paths } from './paths.ts'
import type { Setting } from './setting-shapes.ts'
import { settingKeys, settings } from './settings.ts'
import { nearest } from '../base/nearest.ts'

/** What the command line says, by the setting's key, with the flag that said it. */
export type FlagValues = Readonly<Record<string, { flag: string; value: unknown }>>

export interface SettingLine {
  key: string
  /** As shown to people: secrets masked. */
  value: string
  /** `default`, the config file's path, a variable's name or a flag. */
  origin: string
}

export type Config = ReturnType<typeof loadConfig>

export function loadConfig(env: Env, flags: FlagValues = {}, homeFlag?: string) {
  const basePaths = openBasePaths(env, homeFlag)
  const file = readConfigFile(basePaths.configFile)
  refuseUnknownVariables(env)
  const lines: SettingLine[] = []

  const read = <T>(setting: Setting<T>): T => {
    const { raw, origin } = find(setting, flags, env, file, basePaths.configFile)
    const value = raw === undefined ? setting.fallback : parseNamed(setting, raw, origin)
    lines.push({ key: setting.key, value: setting.show(value), origin })
    return value
  }

  const preset = networks[read(settings.network)]
  const rpcUrls = read(settings.rpcUrls)
  const network: NetworkPreset = rpcUrls.length > 0 ? { ...preset, rpcUrls } : preset
  const paths: Paths = pathsOf(basePaths, network.name)

  const config = {
    network,
    paths,
    rpcQuorum: read(settings.rpcQuorum),
    escrowCodeHash: read(settings.escrowCodeHash),
    logLevel: read(settings.logLevel),
    registries: read(settings.registries),
    p2p: {
      bootstrap: read(settings.p2pBootstrap),
      portMapping: read(settings.p2pPortMapping),
      punch: read(settings.p2pPunch),
      lan: read(settings.p2pLan),
    },
    buy: {
      port: read(settings.buyPort),
      sellers: read(settings.buySellers),
      allowPrivate: read(settings.buyAllowPrivate) ?? network.name === 'local',
      p2pListen: read(settings.buyP2pListen),
      allowPlainHttp: read(settings.buyAllowPlainHttp),
      trustless: read(settings.buyTrustless),
      maxPerRequest: read(settings.buyMaxPerRequest),
      maxDepositPerSeller: read(settings.buyMaxDeposit),
      maxPerDay: read(settings.buyMaxPerDay),
      maxExposure: read(settings.buyMaxExposure),
      maxUnresolved: read(settings.buyMaxUnresolved),
      allowV1: read(settings.buyAllowV1),
      maxBodyBytes: read(settings.buyMaxBody),
      firstByteTimeoutSec: read(settings.buyFirstByte),
      idleTimeoutSec: read(settings.buyIdle),
    },
    sell: {
      listen: read(settings.sellListen),
      engines: read(settings.sellEngines),
      engineKey: read(settings.sellEngineKey),
      priceIn: read(settings.sellPriceIn),
      priceOut: read(settings.sellPriceOut),
      priceCached: read(settings.sellPriceCached),
      models: read(settings.sellModels),
      maxConcurrency: read(settings.sellMaxConcurrency),
      payTo: read(settings.sellPayTo),
      publicUrl: read(settings.sellPublicUrl),
      p2pListen: read(settings.sellP2pListen),
      p2pAnnounce: read(settings.sellP2pAnnounce),
      announce: read(settings.sellAnnounce),
      takeOver: read(settings.sellTakeOver),
      region: read(settings.sellRegion),
      withdrawDelaySec: read(settings.sellWithdrawDelay),
      minDeposit: read(settings.sellMinDeposit),
      leastExact: read(settings.sellExact) ? read(settings.sellMinExact) : null,
      claimIntervalSec: read(settings.sellClaimInterval),
      claimThreshold: read(settings.sellClaimThreshold),
      claimProfit: read(settings.sellClaimProfit),
      claimGas: read(settings.sellClaimGas),
      coinPrice: read(settings.sellCoinPrice) ?? network.coinPrice,
      maxBodyBytes: read(settings.sellMaxBody),
      firstByteTimeoutSec: read(settings.sellFirstByte),
      idleTimeoutSec: read(settings.sellIdle),
    },
    watch: {
      sellers: read(settings.watchSellers),
      headStartSec: read(settings.watchHeadStart),
    },
    registry: {
      listen: read(settings.registryListen),
      peers: read(settings.registryPeers),
      publicUrl: read(settings.registryPublicUrl),
      probe: read(settings.registryProbe),
      p2pListen: read(settings.registryP2pListen),
      p2pAnnounce: read(settings.registryP2pAnnounce),
      allowPrivate: read(settings.registryAllowPrivate) ?? network.name === 'local',
      requestsPerSec: read(settings.registryRequestRate),
      trustForwarded: read(settings.registryTrustForwarded),
    },
    /** Every setting in the order of the list, for `openseed config list`. */
    lines,
  }
  checkDepositLimit(network, config.buy.maxDepositPerSeller)
  for (const part of [paths, config.p2p, config.buy, config.sell, config.watch, config.registry, lines])
    Object.freeze(part)
  return Object.freeze(config)
}

function find<T>(setting: Setting<T>, flags: FlagValues, env: Env, file: Table, filePath: string) {
  const inFile = file.get(setting.key)
  const flag = flags[setting.key]
  if (flag !== undefined) {
    // A flag for one model leaves what the file says about the others.
    const raw = setting.noVariable ? mergeTables(inFile, flag.value) : flag.value
    return { raw, origin: flag.flag }
  }
  const variable = setting.noVariable ? undefined : env.settings.get(envName(setting.key))
  if (variable !== undefined) return { raw: variable, origin: envName(setting.key) }
  return inFile === undefined ? { raw: undefined, origin: 'default' } : { raw: inFile, origin: filePath }
}

function parseNamed<T>(setting: Setting<T>, raw: unknown, origin: string): T {
  try {
    return setting.parse(raw)
  } catch (error) {
    if (!hasCode(error, 'config_invalid')) throw error
    throw new OpenSeedError('config_invalid', {
      message: `${setting.key} (${origin}) ${error.message}.`,
      hint: 'openseed config list',
      cause: error,
    })
  }
}

type Table = ReadonlyMap<string, unknown>

/** The file as one flat table of the settings' keys. No file is an empty one. */
function readConfigFile(path: string): Table {
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
    throw new OpenSeedError('config_invalid', { message: `${path} cannot be read.`, cause: error })
  }
  const table = new Map<string, unknown>()
  for (const [key, value] of flatten(parseFile(content, path))) {
    if (!settingKeys.includes(key)) throw unknownName(`"${key}" in ${path}`, nearest(key, settingKeys))
    table.set(key, value)
  }
  return table
}

function parseFile(content: string, path: string): Record<string, unknown> {
  try {
    return parseToml(content)
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    throw new OpenSeedError('config_invalid', {
      message: `${path} is not valid TOML: ${reason}`,
      cause: error,
    })
  }
}

function* flatten(table: Record<string, unknown>, prefix = ''): Generator<[string, unknown]> {
  for (const [name, value] of Object.entries(table)) {
    const key = prefix + name
    if (isTable(value) && !settingKeys.includes(key)) yield* flatten(value, `${key}.`)
    else yield [key, value]
  }
}

// A mistyped cap that is silently ignored would cost money.
function refuseUnknownVariables(env: Env): void {
  const known = settingKeys.filter((key) => key !== settings.sellModels.key).map(envName)
  for (const name of env.settings.keys()) {
    if (!known.includes(name)) throw unknownName(`The variable ${name}`, nearest(name, known))
  }
}

function unknownName(what: string, suggestion: string | null): OpenSeedError {
  return new OpenSeedError('config_invalid', {
    message: `${what} is no setting.`,
    hint: suggestion ? `Did you mean ${suggestion}?` : 'openseed config list shows every setting.',
  })
}

function checkDepositLimit({ name, depositLimit }: NetworkPreset, asked: bigint): void {
  if (depositLimit === null || asked <= depositLimit) return
  throw new OpenSeedError('config_invalid', {
    message: `buy.max_deposit_per_seller is ${formatUsd(asked)}; the network ${name} allows ${formatUsd(depositLimit)}.`,
  })
}

function mergeTables(under: unknown, over: unknown): unknown {
  if (!isTable(under) || !isTable(over)) return over
  const merged = { ...under }
  for (const [model, fields] of Object.entries(over)) {
    const known = merged[model]
    merged[model] = isTable(known) && isTable(fields) ? { ...known, ...fields } : fields
  }
  return merged
}
