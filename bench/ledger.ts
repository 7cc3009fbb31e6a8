import { join } from 'node:path'
import { openReader } from '../src/store/reader.ts'
import type { BenchResults } from './results.ts'
import type { Stage } from './stage.ts'
import { sum } from './statistics.ts'

/** What was paid, by both databases. Throws when they differ: then what was measured was not the product. */
export function readLedger({ folder }: Stage): BenchResults['paid'] {
  using buyer = openReader(databaseOf(folder, 'buyer'), 'buyer')
  using seller = openReader(databaseOf(folder, 'seller'), 'seller')
  if (buyer === null || seller === null) throw new Error('nothing was stored')
  const { charged: earned, requests } = seller.read('totals')
  const channels = buyer.read('loadChannels')
  const paid = channels.reduce((total, { charged }) => total + charged, 0n)
  const open = sum(channels.map(({ openRequests = [] }) => openRequests.length))
  if (paid !== earned || open > 0) {
    throw new Error(`the buyer paid ${paid} and has ${open} requests open; the seller earned ${earned}`)
  }
  return { requests, charged: paid.toString() }
}

const databaseOf = (folder: string, role: string) => join(folder, 'home', role, 'local', `${role}.db`)
