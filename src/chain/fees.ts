/** What gas costs, and what a transaction that nobody mines should offer instead. */
import type { Rpc } from './rpc.ts'
import { resultOf } from './rpc.ts'
import { vouched } from './quorum.ts'

/** EIP-1559 fees in wei per gas. */
export interface Fees {
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

/** What the chain asks for now, in wei per gas. */
export interface FeeMarket {
  baseFeePerGas: bigint
  tip: bigint
}

// The price that is paid is the block's; a high limit only keeps a transaction from getting stuck when it rises.
const baseFeeHeadroom = 5n
const defaultTipWei = 1_000_000n
// The tip is paid in full, so an RPC must not be able to name any sum.
const mostTipWei = 1_000_000_000n
// Nodes take a replacement from 10 % on.
const bumpNumerator = 9n
const bumpDenominator = 8n

/** The fees that a new transaction offers. */
export function feesFor({ baseFeePerGas, tip }: FeeMarket): Fees {
  const most = max(mostTipWei, baseFeePerGas)
  const maxPriorityFeePerGas = tip < most ? tip : most
  return { maxFeePerGas: baseFeePerGas * baseFeeHeadroom + maxPriorityFeePerGas, maxPriorityFeePerGas }
}

/** True when the market has passed what is offered, so that it cannot be mined. */
export const isOutbid = (offered: Fees, { baseFeePerGas }: FeeMarket): boolean =>
  offered.maxFeePerGas < baseFeePerGas + offered.maxPriorityFeePerGas

/** The fees of the next copy with the same nonce: enough for nodes to replace the last one, and for the market. */
export function bumpFees(offered: Fees, market: FeeMarket): Fees {
  const wanted = feesFor(market)
  const maxPriorityFeePerGas = max(raised(offered.maxPriorityFeePerGas), wanted.maxPriorityFeePerGas)
  const maxFeePerGas = max(raised(offered.maxFeePerGas), wanted.maxFeePerGas)
  const least = market.baseFeePerGas + maxPriorityFeePerGas
  return { maxFeePerGas: max(maxFeePerGas, least), maxPriorityFeePerGas }
}

/** Reads the market as enough RPCs see it. Throws what `Rpc.all` throws. */
export async function readFeeMarket(rpc: Rpc): Promise<FeeMarket> {
  const told = await rpc.all(async (source) => {
    const [block, tip] = await source.batch([
      { method: 'eth_getBlockByNumber', params: ['latest', false] },
      { method: 'eth_maxPriorityFeePerGas' },
    ])
    const { baseFeePerGas = '0x0' } = resultOf(block, 'eth_getBlockByNumber') as { baseFeePerGas?: string }
    return {
      baseFeePerGas: BigInt(baseFeePerGas),
      tip: tip?.ok ? BigInt(tip.result as string) : defaultTipWei,
    }
  })
  const needed = rpc.needed(told.length)
  const agreed = (of: (market: FeeMarket) => bigint) => vouched(told.map(of), needed) ?? 0n
  return { baseFeePerGas: agreed((market) => market.baseFeePerGas), tip: agreed((market) => market.tip) }
}

/** What a transaction that is sent now pays, in wei per gas. Throws what `Rpc.all` throws. */
export async function weiPerGas(rpc: Rpc): Promise<bigint> {
  const market = await readFeeMarket(rpc)
  return market.baseFeePerGas + feesFor(market).maxPriorityFeePerGas
}

const raised = (value: bigint): bigint => (value * bumpNumerator) / bumpDenominator + 1n
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)
