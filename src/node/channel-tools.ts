/** `openseed channels`: reads beside the running roles, and moves money through the running buyer or in its place. */
import type { Refunded } from '../buyer/refund.ts'
import type { WithdrawStep } from '../buyer/withdraw.ts'
import { openEscrow, type ChannelOnChain } from '../chain/escrow.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Config } from '../config/config.ts'
import { openReader } from '../store/reader.ts'
import type { BuyerChannelRow, SellerChannelRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { matches, onlyOne, parseRefunded, parseWithdrawStep } from './buyer-control.ts'
import { startBuyerNode, type BuyerNode } from './buyer-node.ts'
import { callControl } from './control.ts'
import { buyerOptions, type BuyIo } from './run-buy.ts'

/** One channel, as this home knows it. Amounts in atomic USDC. */
export interface ChannelView {
  role: 'buyer' | 'seller'
  id: Hex
  /** the seller's URL, or the paying wallet */
  counterparty: string
  payer: string
  /** deposits less refunds and withdrawals, whatever was charged */
  balance: Usdc
  charged: Usdc
  /** what open requests may still cost */
  held: Usdc
  signed: Usdc
  /** neither charged nor held */
  available: Usdc
  openRequests: number
  state: string
  pendingDeposit: boolean
  refunding: Usdc
  /** asked for by a timed withdrawal; null when none is pending or the chain was not reached */
  withdrawing: Usdc | null
  /** when that can be finished */
  unlocksAtSec: number | null
  /** null when the chain was not reached */
  onChain: ChannelOnChain | null
}

export type ToolIo = Pick<BuyIo, 'log' | 'password' | 'signal'>

const chainWithinMs = 3000

/** Every channel of this home, with what the chain says when it can be reached soon. */
export async function listChannels(config: Config): Promise<ChannelView[]> {
  const rows = [...readBuyer(config), ...readSeller(config)]
  const facts = await readChain(
    config,
    rows.map(({ view }) => view.id),
  )
  return rows.map(({ view, config: channel }, at) => withChain(view, channel, facts?.[at] ?? null))
}

/** By an id or the first digits of one. Throws `channel_not_found`. */
export async function showChannel(config: Config, id: string): Promise<ChannelView> {
  const rows = [...readBuyer(config), ...readSeller(config)]
  const { view, config: channel } = onlyOne(
    rows.filter((row) => matches(row.view.id, id)),
    id,
  )
  const facts = await readChain(config, [view.id])
  return withChain(view, channel, facts?.[0] ?? null)
}

/** Asks the seller for unspent money. Throws what `refund` throws. */
export async function refundChannel(
  config: Config,
  id: string,
  amount: Usdc | undefined,
  io: ToolIo,
): Promise<Refunded> {
  const answer = await callControl(
    config.paths.buyer,
    'refund',
    { id, amount: amount?.toString() },
    io.signal,
  )
  if (answer !== null) return parseRefunded(answer.value)
  return inItsPlace(config, io, (node) => node.refund(id, amount))
}

/** A step of the withdrawal that needs no seller. Throws what `initiateWithdraw` and `finalizeWithdraw` throw. */
export async function withdrawChannel(
  config: Config,
  id: string,
  io: ToolIo,
  { finalize }: { finalize: boolean },
): Promise<WithdrawStep> {
  const answer = await callControl(config.paths.buyer, 'withdraw', { id, finalize }, io.signal)
  if (answer !== null) return parseWithdrawStep(answer.value)
  return inItsPlace(config, io, (node) => node.withdraw(id, { finalize }))
}

/** No buyer runs: this process takes its lock and does the work itself. */
async function inItsPlace<T>(config: Config, io: ToolIo, work: (node: BuyerNode) => Promise<T>): Promise<T> {
  const options = await buyerOptions(config, io)
  const node = await startBuyerNode({ ...options, sellers: [], listen: null })
  try {
    return await work(node)
  } finally {
    await node.close(0)
  }
}

interface ReadRow {
  view: Omit<ChannelView, 'withdrawing' | 'unlocksAtSec' | 'onChain'>
  config: ChannelConfig
}

function readBuyer({ paths }: Config): ReadRow[] {
  using reader = openReader(`${paths.buyer}/buyer.db`, 'buyer')
  return reader?.read('loadChannels').map((row) => ({ view: viewOfBuyer(row), config: row.config })) ?? []
}

function readSeller({ paths }: Config): ReadRow[] {
  using reader = openReader(`${paths.seller}/seller.db`, 'seller')
  return reader?.read('loadChannels').map((row) => ({ view: viewOfSeller(row), config: row.config })) ?? []
}

function viewOfBuyer(row: BuyerChannelRow): ReadRow['view'] {
  return {
    role: 'buyer',
    // Of a channel that was found again on the chain nobody may know yet where its seller is.
    counterparty: row.sellerUrl === '' ? checksummed(row.config.receiver) : row.sellerUrl,
    ...commonOf(row),
    state: row.state,
    pendingDeposit: row.deposit !== null,
  }
}

function viewOfSeller(row: SellerChannelRow): ReadRow['view'] {
  return {
    role: 'seller',
    counterparty: checksummed(row.config.payer),
    ...commonOf(row),
    state: row.withdrawInitiatedAtSec > 0 ? 'withdrawing' : 'open',
    pendingDeposit: false,
  }
}

function commonOf(row: BuyerChannelRow | SellerChannelRow) {
  const open: readonly { ceiling: Usdc }[] = row.openRequests ?? []
  const held = open.reduce((sum, { ceiling }) => sum + ceiling, 0n)
  const available = row.balance - row.charged - held
  return {
    id: row.id,
    payer: checksummed(row.config.payer),
    balance: row.balance,
    charged: row.charged,
    held,
    signed: row.signed,
    available: available > 0n ? available : 0n,
    openRequests: open.length,
    refunding: row.refunding,
  }
}

function withChain(
  view: ReadRow['view'],
  { withdrawDelay }: ChannelConfig,
  onChain: ChannelOnChain | null,
): ChannelView {
  const initiatedAtSec = onChain?.withdrawInitiatedAtSec ?? 0
  const isPending = initiatedAtSec > 0
  return {
    ...view,
    state: isPending && view.state === 'open' ? 'withdrawing' : view.state,
    withdrawing: isPending ? (onChain?.withdrawAmount ?? null) : null,
    unlocksAtSec: isPending ? initiatedAtSec + withdrawDelay : null,
    onChain,
  }
}

/** Null when the chain cannot be reached: what is stored here is shown all the same. */
async function readChain({ network }: Config, ids: readonly Hex[]): Promise<ChannelOnChain[] | null> {
  if (ids.length === 0) return []
  const { chainId } = network.terms
  await using rpc = openRpc({ urls: [...network.rpcUrls], chainId, timeoutMs: chainWithinMs })
  try {
    // Awaited here: the connection closes with this function.
    return await openEscrow(rpc, network.terms).channels(ids)
  } catch {
    return null
  }
}
