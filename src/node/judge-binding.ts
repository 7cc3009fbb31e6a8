/** Whether the wallet that a seller is paid to vouches for its node. */
import { hasCode } from '../base/errors.ts'
import { openWalletCheck } from '../chain/contract-wallet.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Config } from '../config/config.ts'
import type { Listing } from '../search/listing.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import { bindingCovers, verifyBinding, type BindingRefusal } from '../wire/peer-binding.ts'

/**
 * `missing`: none was found. `not_covering`: the record names another binding. `unchecked`: only the chain could tell,
 * and it was not reached.
 */
export type BindingStatus = 'valid' | 'missing' | 'not_covering' | 'unchecked' | BindingRefusal

const chainWithinMs = 3_000

/** Never throws for a chain that cannot be reached. */
export async function judgeBinding(
  { record, binding }: Pick<Listing, 'record' | 'binding'>,
  { terms, rpcUrls }: Pick<Config['network'], 'terms' | 'rpcUrls'>,
  nowMs: number,
): Promise<BindingStatus> {
  if (binding === null) return 'missing'
  const digests = openDigests(terms)
  if (!bindingCovers(digests, binding, record)) return 'not_covering'
  await using rpc = openRpc({ urls: rpcUrls, chainId: terms.chainId, timeoutMs: chainWithinMs })
  try {
    const verdict = await verifyBinding(binding, {
      digests,
      curve,
      nowSec: Math.floor(nowMs / 1_000),
      isValidSignature: openWalletCheck(rpc),
    })
    return verdict.ok ? 'valid' : verdict.reason
  } catch (error) {
    if (hasCode(error, 'chain_unavailable') || hasCode(error, 'chain_mismatch')) return 'unchecked'
    throw error
  }
}
