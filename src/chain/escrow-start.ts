import { OpenSeedError } from '../base/errors.ts'
import { hasCode, type Escrow } from './escrow.ts'
import type { Rpc } from './rpc.ts'

/**
 * The first block that has the escrow's code: no channel is older. Null when no RPC shows the chain's old state, or
 * shows it in a way that proves nothing. Throws what `Rpc` throws but failures to answer, and the signal's reason.
 */
export async function escrowStart(
  { rpc, network }: Escrow,
  head: number,
  signal: AbortSignal,
): Promise<number | null> {
  const has = async (source: Rpc, block: number) => {
    const asked = [network.escrow, network.asset].map((place) => ({
      method: 'eth_getCode',
      params: [place, `0x${block.toString(16)}`],
    }))
    const [escrow, asset] = await source.batch(asked, signal)
    return { escrow: hasCode(escrow), asset: hasCode(asset) }
  }
  for (const source of rpc.sources) {
    try {
      return await firstBlock((block) => has(source, block), head)
    } catch (thrown) {
      signal.throwIfAborted()
      const isSilent =
        thrown instanceof OpenSeedError && ['chain_refused', 'chain_unavailable'].includes(thrown.code)
      if (!isSilent) throw thrown
    }
  }
  return null
}

interface Seen {
  escrow: boolean
  asset: boolean
}

async function firstBlock(has: (block: number) => Promise<Seen>, head: number): Promise<number | null> {
  let low = 0
  let high = head
  let before: Seen | null = null
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const seen = await has(middle)
    if (seen.escrow) high = middle
    else {
      low = middle + 1
      before = seen
    }
  }
  // An RPC that shows nothing at all where it kept no state would hide channels: the token must be there, without escrow.
  return high === 0 || before?.asset === true ? high : null
}
