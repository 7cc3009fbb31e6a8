/** Asks wallets that are contracts (ERC-1271) whether a signature is theirs. */
import { AbiCoder } from 'ethers'
import { hasCode } from '../base/errors.ts'
import type { IsValidSignature } from '../wire/peer-binding.ts'
import type { Rpc } from './rpc.ts'

// isValidSignature(bytes32,bytes); a wallet answers with the same four bytes.
const selector = '1626ba7e'
// A contract decides how long it runs; the node that runs it should not.
const gas = '0x4c4b40'

/** A check by `eth_call`. False for an address without code and for one that reverts. Throws `chain_unavailable`. */
export function openWalletCheck(rpc: Rpc): IsValidSignature {
  return async (wallet, digest, signature) => {
    const argument = AbiCoder.defaultAbiCoder().encode(['bytes32', 'bytes'], [digest, signature])
    const call = { to: wallet, data: `0x${selector}${argument.slice(2)}`, gas }
    try {
      const result = await rpc.send('eth_call', [call, 'latest'])
      return typeof result === 'string' && result.startsWith(`0x${selector}${'0'.repeat(56)}`)
    } catch (error) {
      if (hasCode(error, 'chain_refused')) return false
      throw error
    }
  }
}
