/** What sellers and indexes say about themselves: the bodies of signed records, and the catalogue too large for one. */
import { parseAmount, type Usdc } from './amount.ts'
import { canonicalJson, type JsonValue } from './canonical-json.ts'
import {
  expectArray,
  expectInteger,
  expectLine,
  expectNumber,
  expectObject,
  optional,
  present,
  refuseMessage,
} from './fields.ts'
import { asAddress, asHex32, type Address, type Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'
import { judgeMultiaddr, judgeUrl } from './address-policy.ts'

/** One model as announced. Prices are atomic USDC per 1,000,000 tokens; the signed offer decides, not this. */
export interface RecordModel {
  id: string
  /** Quantisation as declared: 'q4_k_m', 'fp8'. */
  quant: string | null
  /** Context in tokens. */
  ctx: number
  /** The most output tokens of one request. */
  maxOut: number
  in: Usdc
  cached: Usdc
  out: Usdc
  /** Capabilities as declared: 'tools', 'vision', 'json'. */
  caps: string[]
}

/** Where a catalogue too large for a record is read, and keccak256 of its bytes. */
export interface CatalogRef {
  hash: Hex
  url: string
}

/** Hardware as the seller detected it on its own machine: declared, not measured by anyone else. */
export interface RecordHardware {
  gpu?: string
  gpus?: number
  vramGiB?: number
  cpu?: string
  ramGiB?: number
}

/** What a seller offers and how it is reached and paid. Exactly one of `models` and `catalog` is null. */
export interface SellerBody {
  models: RecordModel[] | null
  catalog: CatalogRef | null
  payTo: Address
  /** The receiverAuthorizer that signs its offers and receipts. */
  authorizer: Address
  /** EIP-712 digest of the PeerBinding by which `payTo` vouches for this node. */
  bindingHash: Hex
  /** Public base URL; null when it is reached over `addrs` only. */
  url: string | null
  /** Multiaddrs. */
  addrs: string[]
  /** As declared. */
  region: string | null
  hardware: RecordHardware | null
  /** CAIP-2 names. */
  networks: string[]
  schemes: string[]
  /** API dialects: 'openai-chat'. */
  dialects: string[]
  limits: { concurrency: number; maxBodyBytes: number }
}

/** A seller's load now. */
export interface HeartbeatBody {
  running: number
  queued: number
  /** Free slots. */
  free: number
  /** Tokens per second lately; null when nothing ran. */
  tps: number | null
  /** Ids of models that are loaded. */
  warm: string[]
  /** `seq` of the seller record this load belongs to. */
  recordSeq: number
  /** The seller is shutting down: forget it now. */
  leaving?: true
}

/** A registry that can be asked. */
export interface IndexBody {
  /** Base URL; null when it is reached over `addrs` only. */
  url: string | null
  /** Multiaddrs: where it serves the DHT and relays. */
  addrs: string[]
  build: string
}

/** The directory of the DHT in which every seller is listed, whatever it sells. */
export const allSellers = '*'
/** The most multiaddrs of a record. */
export const mostAddrs = 8
/** The most bytes of a catalogue fetched by hash. */
export const mostCatalogBytes = 262_144

const mostModels = 32
const mostCatalogModels = 2_000
const mostWarm = 32
const mostTps = 1e9
const mostGiB = 1e6
const caip2 = /^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$/

/** The JSON form; null fields are left out. */
export function encodeSellerBody(body: SellerBody): JsonValue {
  const { models, catalog, url, region, hardware, ...rest } = body
  return {
    ...rest,
    limits: { ...body.limits },
    ...(models && { models: models.map(encodeModel) }),
    ...(catalog && { catalog: { ...catalog } }),
    ...(url !== null && { url }),
    ...(region !== null && { region }),
    ...(hardware && { hardware: { ...hardware } }),
  }
}

/** Parses a seller's body. Throws `invalid_message`. */
export function parseSellerBody(input: unknown): SellerBody {
  const body = expectObject(input, 'body')
  const models = optional(body.models, (list) => parseModels(list, mostModels))
  const catalog = optional(body.catalog, parseCatalogRef)
  if ((models === null) === (catalog === null)) return refuseMessage('body', 'of models or of a catalog')
  const limits = expectObject(body.limits, 'limits')
  return {
    models,
    catalog,
    payTo: asAddress(body.payTo, 'payTo'),
    authorizer: asAddress(body.authorizer, 'authorizer'),
    bindingHash: asHex32(body.bindingHash, 'bindingHash'),
    url: optional(body.url, (url) => parseUrl(url, 'url')),
    addrs: parseAddrs(body.addrs),
    region: optional(body.region, (region) => expectLine(region, 'region', 32)),
    hardware: optional(body.hardware, parseHardware),
    networks: parseNetworks(body.networks),
    schemes: parseLines(body.schemes, 'schemes', 8, 32),
    dialects: parseLines(body.dialects, 'dialects', 8, 32),
    limits: {
      concurrency: expectInteger(limits.concurrency, 'concurrency'),
      maxBodyBytes: expectInteger(limits.maxBodyBytes, 'maxBodyBytes'),
    },
  }
}

/** The JSON form; `tps` null is left out. */
export function encodeHeartbeatBody(body: HeartbeatBody): JsonValue {
  const { tps, ...rest } = body
  return { ...rest, ...(tps !== null && { tps }) }
}

/** Parses a heartbeat's body. Throws `invalid_message`. */
export function parseHeartbeatBody(input: unknown): HeartbeatBody {
  const body = expectObject(input, 'body')
  const leaving = present(body.leaving)
  if (leaving !== undefined && leaving !== true) return refuseMessage('leaving', 'true or absent')
  return {
    running: expectInteger(body.running, 'running'),
    queued: expectInteger(body.queued, 'queued'),
    free: expectInteger(body.free, 'free'),
    tps: optional(body.tps, (tps) => expectNumber(tps, 'tps', mostTps)),
    warm: parseLines(body.warm, 'warm', mostWarm, 256),
    recordSeq: expectInteger(body.recordSeq, 'recordSeq'),
    ...(leaving && { leaving }),
  }
}

/** The JSON form; `url` null is left out. */
export function encodeIndexBody({ url, ...rest }: IndexBody): JsonValue {
  return { ...rest, ...(url !== null && { url }) }
}

/** Parses an index's body. Throws `invalid_message`. */
export function parseIndexBody(input: unknown): IndexBody {
  const body = expectObject(input, 'body')
  return {
    url: optional(body.url, (url) => parseUrl(url, 'url')),
    addrs: parseAddrs(body.addrs),
    build: expectLine(body.build, 'build', 64),
  }
}

/** The document served where a record names a catalogue: canonical JSON `{"models":[…]}`. */
export function catalogText(models: readonly RecordModel[]): string {
  return canonicalJson({ models: models.map(encodeModel) })
}

/** What a record says of a catalogue: keccak256 of its bytes. */
export function catalogHash(text: string): Hex {
  return keccak256(text)
}

/** Parses a fetched catalogue that must have this hash. Throws `invalid_message`. */
export function parseCatalog(bytes: Uint8Array, hash: Hex): RecordModel[] {
  if (bytes.length > mostCatalogBytes || keccak256(bytes) !== hash)
    return refuseMessage('A catalog', 'the document whose hash the record names')
  return parseModels(expectObject(parseJson(bytes), 'catalog').models, mostCatalogModels)
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    return refuseMessage('A catalog', 'JSON', error)
  }
}

function encodeModel(model: RecordModel): JsonValue {
  const { quant, ...rest } = model
  return {
    ...rest,
    ...(quant !== null && { quant }),
    in: model.in.toString(),
    cached: model.cached.toString(),
    out: model.out.toString(),
  }
}

function parseModels(input: unknown, most: number): RecordModel[] {
  const models = expectArray(input, 'models', most).map(parseModel)
  // With two prices for one name, two readers could take it for two different sellers.
  if (new Set(models.map(({ id }) => id)).size < models.length) return refuseMessage('models', 'distinct')
  return models
}

function parseModel(input: unknown): RecordModel {
  const model = expectObject(input, 'model')
  return {
    id: expectLine(model.id, 'id', 256),
    quant: optional(model.quant, (quant) => expectLine(quant, 'quant', 32)),
    ctx: expectInteger(model.ctx, 'ctx'),
    maxOut: expectInteger(model.maxOut, 'maxOut'),
    in: parseAmount(model.in, 'in'),
    cached: parseAmount(model.cached, 'cached'),
    out: parseAmount(model.out, 'out'),
    caps: parseLines(model.caps, 'caps', 16, 32),
  }
}

function parseCatalogRef(input: unknown): CatalogRef {
  const catalog = expectObject(input, 'catalog')
  return { hash: asHex32(catalog.hash, 'hash'), url: parseUrl(catalog.url, 'catalog url') }
}

function parseHardware(input: unknown): RecordHardware {
  const hardware = expectObject(input, 'hardware')
  const gpu = optional(hardware.gpu, (gpu) => expectLine(gpu, 'gpu', 64))
  const gpus = optional(hardware.gpus, (gpus) => expectInteger(gpus, 'gpus', 4096))
  const vramGiB = optional(hardware.vramGiB, (size) => expectNumber(size, 'vramGiB', mostGiB))
  const cpu = optional(hardware.cpu, (cpu) => expectLine(cpu, 'cpu', 64))
  const ramGiB = optional(hardware.ramGiB, (size) => expectNumber(size, 'ramGiB', mostGiB))
  return {
    ...(gpu !== null && { gpu }),
    ...(gpus !== null && { gpus }),
    ...(vramGiB !== null && { vramGiB }),
    ...(cpu !== null && { cpu }),
    ...(ramGiB !== null && { ramGiB }),
  }
}

function parseNetworks(input: unknown): string[] {
  const networks = parseLines(input, 'networks', 8, 41)
  if (networks.length === 0 || !networks.every((name) => caip2.test(name)))
    return refuseMessage('networks', 'CAIP-2 names')
  return networks
}

// What no policy would ever follow makes the whole record malformed; private places are left to each reader's policy.
function parseUrl(input: unknown, name: string): string {
  const url = expectLine(input, name, 256)
  if (judgeUrl(url) === 'refused') return refuseMessage(name, 'an http or https URL without credentials')
  return url
}

function parseAddrs(input: unknown): string[] {
  const addrs = parseLines(input, 'addrs', mostAddrs, 256)
  if (addrs.some((addr) => judgeMultiaddr(addr) === 'refused')) return refuseMessage('addrs', 'multiaddrs')
  return addrs
}

function parseLines(input: unknown, name: string, most: number, longest: number): string[] {
  return expectArray(input, name, most).map((entry) => expectLine(entry, name, longest))
}
