import { setTimeout as sleep } from 'node:timers/promises'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { tokenAbi } from './abi.ts'
import type { Escrow } from './escrow.ts'
import { parseLogs, type TxLog } from './events.ts'
import { resultOf } from './rpc.ts'

export interface ChannelScan {
  payer: Address
  /** The lowest block to read. */
  fromBlock: number
  /** The highest block to read: the scan goes downwards, newest channels first. */
  toBlock: number
  /**
   * Gets the channels that a range of blocks created, each at least once, and the lowest block read so far. The scan
   * waits for it, so that its place can be kept.
   */
  onRange: (found: ChannelConfig[], downToBlock: number) => Promise<void> | void
  signal: AbortSignal
}

const receiptsAtOnce = 50
const mostFailures = 10
const longestPauseMs = 4000
const triesBeforeWider = 8

/**
 * Finds every channel that was opened with the payer's money through our collector. The escrow's events do not name
 * the payer where a node could look it up; the token's transfers do. Ranges begin as wide as asked and shrink to what
 * the RPC answers. Throws what `Rpc` throws once it fails for single blocks, and the signal's reason.
 */
export async function scanChannels(escrow: Escrow, scan: ChannelScan): Promise<void> {
  const { fromBlock, onRange, signal } = scan
  let to = scan.toBlock
  let range = Math.max(1, to - fromBlock + 1)
  let answered = 0
  let streak = 0
  let failures = 0
  while (to >= fromBlock) {
    signal.throwIfAborted()
    const from = Math.max(fromBlock, to - range + 1)
    let found: ChannelConfig[]
    try {
      found = await channelsIn(escrow, scan.payer, from, to)
    } catch (thrown) {
      // Some RPCs refuse a range that is too wide, some call it a failure of theirs, as a rate limit is.
      const isWaitedFor = hasCode(thrown, 'chain_unavailable')
      if (!isWaitedFor && !hasCode(thrown, 'chain_refused')) throw thrown
      if (isWaitedFor || range === 1) failures += 1
      if (failures === mostFailures) throw thrown
      if (isWaitedFor) await sleep(Math.min(longestPauseMs, 2 ** failures * 100), undefined, { signal })
      const isTooWide = answered > 0 && answered < range
      range = isTooWide ? answered : Math.max(1, Math.floor(range / 4))
      streak = 0
      continue
    }
    failures = 0
    answered = range
    streak += 1
    // Now and then a wider one is tried: what failed may have had another reason.
    if (streak % triesBeforeWider === 0) range *= 2
    await onRange(found, from)
    to = from - 1
  }
}

async function channelsIn(
  { rpc, network }: Escrow,
  payer: Address,
  from: number,
  to: number,
): Promise<ChannelConfig[]> {
  const range = {
    fromBlock: `0x${from.toString(16)}`,
    toBlock: `0x${to.toString(16)}`,
    address: network.asset,
    topics: tokenAbi.encodeFilterTopics('Transfer', [payer, network.collector]),
  }
  const transfers = (await rpc.send('eth_getLogs', [range])) as { transactionHash: Hex }[]
  const hashes = [...new Set(transfers.map(({ transactionHash }) => transactionHash))]
  const found: ChannelConfig[] = []
  for (let at = 0; at < hashes.length; at += receiptsAtOnce) {
    const some = hashes.slice(at, at + receiptsAtOnce)
    const replies = await rpc.batch(
      some.map((hash) => ({ method: 'eth_getTransactionReceipt', params: [hash] })),
    )
    for (const reply of replies) {
      const receipt = resultOf(reply, 'eth_getTransactionReceipt') as { logs: TxLog[] } | null
      if (receipt === null) throw gone()
      for (const fact of parseLogs(receipt.logs, network.escrow))
        if (fact.name === 'ChannelCreated' && fact.config.payer === payer) found.push(fact.config)
    }
  }
  return found
}

const gone = () =>
  new OpenSeedError('chain_unavailable', {
    message: 'An RPC knows a transfer but not its transaction.',
    hint: 'Try again, or name another RPC with --rpc-url.',
  })
