import { AbiCoder } from 'ethers'
import { OpenSeedError } from '../base/errors.ts'
import { escrowAbi, tokenAbi } from './abi.ts'

const textSelector = '0x08c379a0' // Error(string)
const panicSelector = '0x4e487b71' // Panic(uint256)

/**
 * The name of the escrow's or token's error (`ClaimExceedsBalance`), or the text of a revert with text, out of revert
 * data, an `RpcReply` or a thrown `chain_refused`. Null when there is no revert data or nobody here knows it.
 */
export function decodeRevert(error: unknown): string | null {
  const data = revertData(error)
  if (data === null || data.length < 10) return null
  const selector = data.slice(0, 10)
  if (selector === textSelector || selector === panicSelector) return decodeBuiltIn(selector, data)
  return escrowAbi.getError(selector)?.name ?? tokenAbi.getError(selector)?.name ?? null
}

function revertData(error: unknown): string | null {
  const holder = error instanceof OpenSeedError ? error.details : error
  const data = typeof holder === 'object' && holder !== null && 'data' in holder ? holder.data : holder
  return typeof data === 'string' ? data : null
}

function decodeBuiltIn(selector: string, data: string): string | null {
  try {
    const [value] = AbiCoder.defaultAbiCoder().decode(
      [selector === textSelector ? 'string' : 'uint256'],
      `0x${data.slice(10)}`,
    )
    return selector === textSelector ? String(value) : `Panic(${String(value)})`
  } catch {
    return null
  }
}
