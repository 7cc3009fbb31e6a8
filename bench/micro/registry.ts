/** A registry with ten thousand sellers of one model: a query's first page, and heartbeats as they come in. */
import { silentLog } from '../../src/base/log.ts'
import { networks } from '../../src/config/networks.ts'
import { openAdmission } from '../../src/registry/admit.ts'
import { listingText } from '../../src/registry/entry.ts'
import { parseSellersQuery } from '../../src/registry/query.ts'
import { SellerIndex } from '../../src/registry/seller-index.ts'
import { curve } from '../../src/wire/curve.ts'
import { openDigests } from '../../src/wire/digests.ts'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { announcedSeller, modelOf } from '../../test/fixtures/announced-seller.ts'
import type { MicroResults } from '../results.ts'
import { timeEach } from './curve.ts'
import { measureRegistryMemory } from './registry-memory.ts'

const sellerCount = 10_000
const beaters = 200

export async function measureRegistry(
  milliseconds: number,
  { folder, bundle }: { folder: string; bundle: string },
): Promise<MicroResults['registry']> {
  const { terms } = networks.local
  const by = announcedSeller(sellerCount).peer
  const index = new SellerIndex({ now: Date.now, epoch: 'bench' })
  const admission = openAdmission({
    index,
    network: terms.caip2,
    digests: openDigests(terms),
    curve,
    allowPrivate: true,
    now: Date.now,
    log: silentLog,
  })
  const heapBefore = settledHeap()
  let recordBytes = 0
  for (let number = 0; number < sellerCount; number += 1) {
    const seller = announcedSeller(number)
    const models = [modelOf('bench', BigInt(1 + ((number * 7919) % 1_000)))]
    const text = encodeRecord(seller.record({ models }))
    recordBytes += text.length
    const { status } = await admission.register(JSON.parse(text), encodeBinding(seller.binding))
    if (status !== 'ok') throw new Error('a record was refused')
  }
  const heapMiB = (settledHeap() - heapBefore) / 1024 / 1024

  const query = parseSellersQuery(new URLSearchParams('model=bench&limit=20'))
  const top20Us = timeEach(milliseconds, () => {
    const page = index.query(query)
    return page.entries.map((entry) => listingText(entry, by, Date.now())).join(',')
  })
  const filtered = parseSellersQuery(new URLSearchParams('model=bench&limit=20&region=nowhere'))
  const scanUs = timeEach(milliseconds, () => index.query(filtered))

  const sellers = Array.from({ length: beaters }, (_, number) => announcedSeller(number))
  let beatUs = 0
  let beats = 0
  for (const until = performance.now() + 2 * milliseconds; performance.now() < until;) {
    // Signed outside of what is timed.
    const texts = sellers.map((seller) => {
      const { recordSeq } = index.find(seller.peer)!
      return encodeRecord(seller.heartbeat({ recordSeq }))
    })
    const before = process.threadCpuUsage()
    for (const text of texts)
      if (admission.beat(JSON.parse(text)).status !== 'ok') throw new Error('a heartbeat was refused')
    const { user, system } = process.threadCpuUsage(before)
    beatUs += user + system
    beats += beaters
  }
  return {
    sellers: sellerCount,
    recordBytes: recordBytes / sellerCount,
    heapMiB,
    rssMiB: await measureRegistryMemory(folder, bundle, sellerCount),
    top20Us,
    scanUs,
    beatsPerSec: (beats / beatUs) * 1e6,
  }
}

/** What the records take; without a way to collect first it is what they and their making took. */
function settledHeap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
