/** The shape of what `npm run bench -- --json` prints. Times in milliseconds, sizes in MiB, rates per second. */

export type TargetName = 'direct' | 'proxy' | 'paid'
export type ProcessName = 'engine' | 'proxy' | 'seller' | 'buyer' | 'registry' | 'relay' | 'pipe'
export type PathName = 'plain' | 'direct' | 'relayed'
export type BulkPath = PathName | 'piped'

export interface Spread {
  p50: number
  p99: number
}

/** One target under one load; each ratio is the median of the ratios that single rounds gave. */
export interface TargetResult {
  target: TargetName
  requests: number
  requestsPerSec: number
  latencyMs: Spread
  /** to the first byte of the body; null for what is no stream */
  ttftMs: Spread | null
  eventsPerSec: number | null
  cpuMsPerRequest: Partial<Record<ProcessName, number>>
  toDirect: Ratios | null
}

export interface Ratios {
  requestsPerSec: number
  latencyP50: number
  latencyP99: number
  ttftP50: number | null
  eventsPerSec: number | null
}

export interface CaseResult {
  load: string
  concurrency: number
  targets: TargetResult[]
}

export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  platform: string
  node: string
  /** of one 4 KiB append, on the disk that holds the databases */
  fsyncMs: Spread
}

export interface MicroResults {
  curve: { operation: string; nativeUs: number; pureUs: number }[]
  admission: { verifyCpuUs: number; concurrency: number; cpuUs: number; perSec: number }
  /** The buyer's side: up to what may be sent, and from the receipt on. */
  payment: { concurrency: number; openCpuUs: number; bookCpuUs: number; perSec: number }
  writer: { inFlight: number; opsPerSec: number; opsPerGroup: number }[]
  registry: RegistryResults
}

/** Of a registry that lists many sellers of one model. */
export interface RegistryResults {
  sellers: number
  /** Of one seller's record, on average. */
  recordBytes: number
  heapMiB: number
  /** Resident memory of the whole command with as many sellers, as a peer among peers, at rest. */
  rssMiB: number
  /** Microseconds of CPU: the twenty cheapest, as JSON. */
  top20Us: number
  /** The same where no seller passes a filter. */
  scanUs: number
  /** Heartbeats read, judged and taken by one thread. */
  beatsPerSec: number
}

/** Milliseconds until a buyer noticed what happened to a seller. */
export interface DiscoveryResults {
  rounds: number
  /** From when it serves until the buyer has its terms, through a registry. */
  newSellerMs: Noticed
  /** From its death without a word until the request that found out is answered by another one. */
  deadSellerMs: Noticed
}

export interface Noticed {
  p50: number
  worst: number
}

export interface StartUpResults {
  nodeMs: number
  versionMs: number
  helpMs: number
  /** From the start of the process, with a wallet whose password costs no time. */
  buyReadyMs: number
  buyFirstAnswerMs: number
  buyAfterUnlockMs: number
}

/** Of `openseed search`, from the start of its process to the end. */
export interface SearchResults {
  /** `openseed version` in between: what any command costs. */
  versionMs: Spread
  /** Sellers of one model in the registry that is asked. */
  listed: number
  warmMs: Spread
  /** Nodes of the DHT that is asked instead, by who has never met it, and how many of them sell. */
  nodes: number
  selling: number
  coldMs: Spread
  /** The fewest of them that one search found. */
  found: number
}

/** The ways to a seller, one request or stream at a time. */
export interface PathResult {
  path: PathName
  requestMs: Spread
  /** The p50 in times of plain HTTP's. */
  requestToPlain: number
  /** From when the seller wrote an event until the buyer has it. */
  eventMs: Spread
  /** What the p50 is above plain HTTP's. */
  eventAddedMs: number
}

/** One long answer at a time; each ratio is the median of the ratios of answers that came one after the other. */
export interface BulkResult {
  path: BulkPath
  mbPerSec: number
  toPlain: number
  /** Megabytes for a second of CPU, of the seller that sends them. */
  sellerMbPerCpuSec: number
  sellerToPlain: number
  /** The same of the process between; null where there is none. */
  between: { mbPerCpuSec: number; lowest: number; highest: number; toPiped: number } | null
}

export interface PeerResults {
  paths: PathResult[]
  /** Of each answer. */
  bulkMiB: number
  bulk: BulkResult[]
  /** Event streams at once through one seller's host. */
  many: { streams: number; events: number; tookMs: number; rssBeforeMiB: number; peakRssMiB: number }
}

export interface ConnectionResults {
  rounds: number
  /** From the start of a buyer with an empty home to the end of its first answer, over a relay, deposit included. */
  firstPaidMs: Noticed
  /** From when a relay is back until a seller has its place there again. */
  relayBackMs: Noticed
  /** From when a buyer leaves a stream over a relay until the seller sees it. */
  cancelMs: Noticed
}

export interface BenchResults {
  startedAt: string
  quick: boolean
  rounds: number
  windowMs: number
  machine: Machine
  cases: CaseResult[]
  /** What the buyer's own ledger says of the paid requests. */
  paid: { requests: number; charged: string }
  peakRssMiB: Partial<Record<ProcessName, number>>
  startUp: StartUpResults
  search: SearchResults
  discovery: DiscoveryResults
  peers: PeerResults
  connections: ConnectionResults
  micro: MicroResults
  gas: Record<string, number>
}
