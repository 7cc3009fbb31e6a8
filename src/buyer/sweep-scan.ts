/** Looks for channels that the store does not know: by the salts that known sellers lead to, and in the chain's history. */
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import { escrowStart } from '../chain/escrow-start.ts'
import { scanChannels } from '../chain/payer-channels.ts'
import { encodeChannelConfig, parseChannelConfig, sameConfig, type ChannelConfig } from '../wire/channel.ts'
import { expectArray, expectInteger, expectObject } from '../wire/fields.ts'
import { channelIndex, takeOver } from './channel-finder.ts'
import type { BuyerStore } from './channel-book.ts'
import type { SweepParts } from './sweep.ts'

export interface ScanParts extends SweepParts {
  store: BuyerStore
}

export interface ScanOptions {
  /** Reads everything from this block on, whatever was read before. */
  fromBlock?: number | undefined
  onProgress: (progress: ScanProgress) => void
  /** Nobody shows when the escrow came to be, so that all of the chain is read. */
  onWholeChain: () => void
}

export interface ScanProgress {
  /** how many blocks are read, of how many */
  blocksRead: number
  blocks: number
  found: number
}

export interface Scanned {
  /** of this wallet, but with a salt that is not of our key */
  others: ChannelConfig[]
  /** why the history could not be read to its end; null when it was */
  failure: OpenSeedError | null
}

/** What was read already: every block from `low` to `high`. 0 once only blocks without the escrow are left. */
interface Place {
  low: number
  high: number
  others: ChannelConfig[]
}

const placeKey = 'sweep.scanned'
// A block may be replaced by one with other transactions as long as it is young.
const settledAfter = 256
const mostOthers = 100_000

/** Takes in what it finds as it goes, so that a scan that is cut off loses nothing. Throws `store_…`. */
export async function findChannels(
  parts: ScanParts,
  { fromBlock, onProgress, onWholeChain }: ScanOptions,
  signal: AbortSignal,
): Promise<Scanned> {
  const place = await loadPlace(parts)
  const others = place?.others ?? []
  try {
    await findBySalt(parts)
    const { number: head } = await parts.escrow.head()
    // A chain that is shorter than what was read is another chain.
    const isBegun = place !== null && place.high <= head
    const isDownward = fromBlock === undefined && !(isBegun && place.low === 0)
    const start = isDownward ? await escrowStart(parts.escrow, head, signal) : 0
    if (start === null) onWholeChain()
    const wanted = rangesToRead(isBegun ? place : null, { head, fromBlock, start: start ?? 0 })
    const blocks = wanted.reduce((sum, { from, to }) => sum + to - from + 1, 0)
    let blocksRead = 0
    let found = 0
    const high = Math.max(0, head - settledAfter)
    for (const { from, to, isFirst } of wanted) {
      const before = blocksRead
      await scanChannels(parts.escrow, {
        payer: parts.payer,
        fromBlock: from,
        toBlock: to,
        signal,
        onRange: async (configs, low) => {
          found += await takeIn(configs, others, parts)
          // From the head down there is a hole until the first range is whole; only below it each block counts.
          const reached = low === from ? 0 : low
          if (isFirst === true && reached <= high) await savePlace(parts, { low: reached, high, others })
          blocksRead = before + to - low + 1
          onProgress({ blocksRead, blocks, found })
        },
      })
      if (isFirst === false) await savePlace(parts, { low: place?.low ?? 0, high, others })
    }
    if (fromBlock !== undefined && place !== null) await savePlace(parts, { ...place, others })
    return { others, failure: null }
  } catch (thrown) {
    signal.throwIfAborted()
    const failure = asOpenSeedError(thrown)
    if (!failure.code.startsWith('chain_')) throw failure
    return { others, failure }
  }
}

interface Range {
  from: number
  to: number
  /** true: goes on downwards where an earlier scan stopped, or begins; false: what is new since; null: as asked */
  isFirst: boolean | null
}

interface Reach {
  head: number
  fromBlock: number | undefined
  /** the block below which there is nothing */
  start: number
}

function rangesToRead(place: Place | null, { head, fromBlock, start }: Reach): Range[] {
  if (fromBlock !== undefined) return [{ from: fromBlock, to: head, isFirst: null }]
  if (place === null) return [{ from: start, to: head, isFirst: true }]
  const newer: Range = { from: place.high + 1, to: head, isFirst: false }
  if (place.low === 0) return [newer]
  return [newer, { from: Math.min(start, place.low), to: place.low - 1, isFirst: true }]
}

async function findBySalt({ finder, terms }: ScanParts): Promise<void> {
  for (const { url, terms: of } of terms()) await finder.find(url, of)
}

/** How many of them were not known. */
async function takeIn(
  configs: readonly ChannelConfig[],
  others: ChannelConfig[],
  parts: ScanParts,
): Promise<number> {
  const { book, digests, escrow, authorizerKey } = parts
  const unknown = new Map(
    configs
      .filter(({ token }) => token === escrow.network.asset)
      .map((config) => [digests.channelId(config), config] as const)
      .filter(([id]) => book.find(id) === undefined),
  )
  const facts = await escrow.channels([...unknown.keys()])
  let found = 0
  for (const [at, [id, config]] of [...unknown].entries()) {
    const onChain = facts[at]!
    if (onChain.balance === onChain.totalClaimed || others.some((other) => sameConfig(other, config)))
      continue
    found += 1
    const index = channelIndex(authorizerKey, config)
    if (index === null) others.push(config)
    else await takeOver({ id, config, index, sellerUrl: '' }, onChain, parts)
  }
  return found
}

async function loadPlace({ store }: ScanParts): Promise<Place | null> {
  const text = await store.read('getMeta', { key: placeKey })
  if (text === null) return null
  const { low, high, others } = expectObject(JSON.parse(text), placeKey)
  return {
    low: expectInteger(low, 'low'),
    high: expectInteger(high, 'high'),
    others: expectArray(others, 'others', mostOthers).map(parseChannelConfig),
  }
}

async function savePlace({ store }: ScanParts, { low, high, others }: Place): Promise<void> {
  const value = JSON.stringify({ low, high, others: others.map(encodeChannelConfig) })
  await store.run('setMeta', { key: placeKey, value })
}
