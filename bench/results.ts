/** The shape of what `npm run bench -- --json` prints. Times in milliseconds, sizes in MiB, rates per second. */

export type TargetName = 'direct' | 'proxy' | 'paid'
export type ProcessName = 'engine' | 'proxy' | 'seller' | 'buyer'

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
  writer: { inFlight: number; opsPerSec: number; opsPerGroup: number }[]
  registry: RegistryResults
}

/** Of a registry that lists many sellers of one model. */
export interface RegistryResults {
  sellers: number
  /** Of one seller's record, on average. */
  recordBytes: number
  heapMiB: number
  /** Microseconds of CPU: the twenty cheapest, as JSON. */
  top20Us: number
  /** The same where no seller passes a filter. */
  scanUs: number
  /** Heartbeats read, judged and taken by one thread. */
  beatsPerSec: number
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
  micro: MicroResults
  gas: Record<string, number>
}
