/** `openseed channels sweep`: a buyer without a gateway finds what the wallet has in channels and brings it home. */
import type { OpenSeedError } from '../base/errors.ts'
import type { ScanProgress } from '../buyer/sweep-scan.ts'
import type { SweepStep } from '../buyer/sweep-plan.ts'
import type { SweepItem, SweepResult } from '../buyer/sweep.ts'
import type { Config } from '../config/config.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { startBuyerNode } from './buyer-node.ts'
import type { ToolIo } from './channel-tools.ts'
import { buyerOptions } from './run-buy.ts'

export interface SweepOrder {
  /** Whether channels that other programs made with this wallet are emptied too. */
  foreign: boolean
  /** Reads the chain from this block on, whatever an earlier sweep has read. */
  fromBlock?: number | undefined
  onProgress: (progress: ScanProgress) => void
  /** Nobody shows when the escrow came to be, so that all of the chain is read. */
  onWholeChain: () => void
  /** Gets what is about to be done; throws when it may not be. */
  confirm: (plan: SweepPlan) => Promise<void>
  onResult: (swept: Swept) => void
}

export interface SweepPlan {
  wallet: string
  channels: PlannedChannel[]
  /** why the chain's history could not be read to its end; null when it was */
  historyMissing: OpenSeedError | null
}

export interface PlannedChannel {
  id: Hex
  /** the seller's URL, or the wallet it is paid at when nobody knows where it is */
  counterparty: string
  step: SweepStep
}

export interface Swept {
  id: Hex
  counterparty: string
  result: SweepResult
}

export interface SweepReport {
  wallet: string
  channels: Swept[]
  historyMissing: OpenSeedError | null
}

/**
 * Holds the buyer's lock from the first look to the last step, so that no buyer of this home uses what is taken back.
 * Throws `home_locked` while one runs, what `confirm` throws, and the signal's reason.
 */
export async function sweepChannels(config: Config, order: SweepOrder, io: ToolIo): Promise<SweepReport> {
  const { foreign, fromBlock, onProgress, onWholeChain, confirm, onResult } = order
  const node = await startBuyerNode({ ...(await buyerOptions(config, io)), listen: null, seek: true })
  try {
    const { sweep } = node
    const wallet = checksummed(node.payer)
    const { others, failure } = await sweep.find({ fromBlock, onProgress, onWholeChain }, io.signal)
    const items = await sweep.plan(others, { foreign }, io.signal)
    const planned = items.map((item) => ({ ...nameOf(item), step: item.step }))
    if (items.some(({ step }) => isAct(step)))
      await confirm({ wallet, channels: planned, historyMissing: failure })
    const channels: Swept[] = []
    // One after the other: transactions of one key queue anyway, and what is shown is what was done.
    for (const item of items) {
      const swept = {
        ...nameOf(item),
        result: await untilCut(sweep.run(item, { foreign }, io.signal), io.signal),
      }
      onResult(swept)
      channels.push(swept)
    }
    return { wallet, channels, historyMissing: failure }
  } finally {
    await node.close(0)
  }
}

/** A transaction may take long to be mined; who leaves need not wait for it, the outbox goes on with it next time. */
async function untilCut<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const cut = Promise.withResolvers<never>()
  const onAbort = () => cut.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([work, cut.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

const isAct = ({ kind }: SweepStep) => kind === 'refund' || kind === 'withdraw' || kind === 'finalize'

function nameOf({ id, seller, config }: SweepItem): { id: Hex; counterparty: string } {
  return { id, counterparty: seller ?? checksummed(config.receiver) }
}
