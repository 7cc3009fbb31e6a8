import { describeMachine } from './machine.ts'
import { readGas } from './gas.ts'
import { measureDiscovery } from './discovery.ts'
import { measureConnections } from './connections.ts'
import { measureAdmission } from './micro/admission.ts'
import { measureCurve } from './micro/curve.ts'
import { measurePayment } from './micro/payment.ts'
import { measureRegistry } from './micro/registry.ts'
import { measureWriter } from './micro/writer.ts'
import { readLedger } from './ledger.ts'
import { measurePeers } from './p2p.ts'
import { plain, stream, type Load } from './requests.ts'
import type { BenchResults, CaseResult } from './results.ts'
import { runWindow } from './load.ts'
import { measureCase } from './rounds.ts'
import { measureSearch } from './search.ts'
import { openStage, type Stage } from './stage.ts'
import { measureStartUp } from './start-up.ts'

interface Extent {
  rounds: number
  windowMs: number
  warmUpMs: number
  loads: readonly Load[]
  starts: number
  /** that begin and die */
  sellers: number
  microMs: number
}

const full: Extent = {
  rounds: 5,
  windowMs: 1000,
  warmUpMs: 2000,
  loads: [plain, stream(100), stream(200)],
  starts: 10,
  sellers: 10,
  microMs: 1000,
}
const quickly: Extent = {
  rounds: 2,
  windowMs: 150,
  warmUpMs: 600,
  loads: [plain, stream(100)],
  starts: 3,
  sellers: 3,
  microMs: 100,
}

export interface BenchOptions {
  quick: boolean
  /** a folder for the CPU profiles of the measured processes */
  profile?: string | undefined
  note: (text: string) => void
}

const concurrencies = [1, 16, 64]

export async function measureAll({ quick, profile, note }: BenchOptions): Promise<BenchResults> {
  const extent = quick ? quickly : full
  const startedAt = new Date().toISOString()
  note('starting engine, proxy, chain, seller and buyer')
  await using stage = await openStage(profile)
  const machine = await describeMachine(stage.folder)
  note('warming up')
  await warmUp(stage, extent)

  const cases: CaseResult[] = []
  for (const load of extent.loads) {
    for (const concurrency of concurrencies) {
      note(`${load.name}, ${concurrency} concurrent`)
      cases.push(await measureCase(stage.targets, load, concurrency, extent))
    }
  }
  const peakRssMiB = await readPeaks(stage)
  await stage.buyer.stop()
  const paid = readLedger(stage)
  note('starting the command line again and again')
  const startUp = await measureStartUp(stage, extent.starts)
  note('starting sellers and letting them die')
  const discovery = await measureDiscovery(stage.folder, extent.sellers)
  note('searching')
  const search = await measureSearch(stage.bundle, extent.starts)
  note('asking over libp2p')
  const peers = await measurePeers(extent)
  note('connecting over relays')
  const connections = await measureConnections(stage.folder, extent.sellers)
  note('measuring parts')
  const micro = {
    curve: measureCurve(extent.microMs),
    admission: await measureAdmission(stage.folder, extent.microMs / 10),
    payment: await measurePayment(stage.folder, extent.microMs / 10),
    writer: await measureWriter(stage.folder, extent.microMs),
    registry: await measureRegistry(extent.microMs, stage),
  }
  const { rounds, windowMs } = extent
  const gas = await readGas()
  return {
    startedAt,
    quick,
    rounds,
    windowMs,
    machine,
    cases,
    paid,
    peakRssMiB,
    startUp,
    search,
    discovery,
    peers,
    connections,
    micro,
    gas,
  }
}

/** Compiled hot paths, open channel, known terms. */
async function warmUp({ targets }: Stage, { loads, warmUpMs }: Extent): Promise<void> {
  for (const { url, name } of targets) {
    for (const load of loads) {
      // The paid way has by far the most code.
      const durationMs = (name === 'paid' ? 4 : 1) * (warmUpMs / loads.length)
      await runWindow({ url, load, concurrency: 16, durationMs, mark: () => Promise.resolve() })
    }
  }
}

async function readPeaks({ children }: Stage): Promise<BenchResults['peakRssMiB']> {
  const peaks = await Promise.all(
    children.map(async (child) => [child.name, (await child.usage()).peakRssKiB / 1024] as const),
  )
  return Object.fromEntries(peaks)
}
