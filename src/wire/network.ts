import type { Address } from './hex.ts'

/** The contracts and the token that payments on one chain use. */
export interface NetworkTerms {
  chainId: number
  /** CAIP-2 name, as x402 wants it: `eip155:<chainId>`. */
  caip2: string
  escrow: Address
  collector: Address
  asset: Address
  /** EIP-712 domain name of the token. */
  assetName: string
  /** EIP-712 domain version of the token. */
  assetVersion: string
}

/** Where the batch-settlement escrow stands on every chain. */
export const canonicalEscrow: Address = '0x4020074e9df2ce1dee5a9c1b5c3f541d02a10003'
/** Where the ERC-3009 deposit collector stands on every chain. */
export const canonicalCollector: Address = '0x4020806089470a89826cb9fb1f4059150b550004'

/** CAIP-2 name of an EVM chain. */
export function caip2Of(chainId: number): string {
  return `eip155:${chainId}`
}
