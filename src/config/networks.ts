import type { Usdc } from '../wire/amount.ts'
import { canonicalCollector, canonicalEscrow, type NetworkTerms } from '../wire/network.ts'

export type NetworkName = 'base' | 'base-sepolia' | 'local'

/** When money on the chain counts. Nothing below config/ and node/ knows a chain by name. */
export interface ConfirmationPolicy {
  /** Confirmations (1: in the head block) after which a transaction of ours counts as done. */
  depth: number
  /** Confirmations after which the seller serves against a deposit. */
  depositConfirmations: number
  /** A chain head older than this stops new service; null where blocks come on demand only. */
  maxHeadAgeSec: number | null
}

export interface NetworkPreset {
  name: NetworkName
  /** A sentence for whoever starts a node there; null when there is nothing to say. */
  warning: string | null
  terms: NetworkTerms
  rpcUrls: readonly string[]
  confirmation: ConfirmationPolicy
  /** Roughly what a whole coin that gas is paid in is worth; 0 on test networks, where it is worth nothing. */
  coinPrice: Usdc
  /** Whether a transaction also pays for its bytes on another chain, as those of the OP stack do. */
  paysForData: boolean
  /** The highest `buy.max_deposit_per_seller` that is accepted; null for no limit. */
  depositLimit: Usdc | null
}

const base: NetworkPreset = {
  name: 'base',
  warning: 'Real money: the contracts in use are deployed, but OpenSeed itself has had no external audit.',
  terms: {
    chainId: 8453,
    caip2: 'eip155:8453',
    escrow: canonicalEscrow,
    collector: canonicalCollector,
    asset: '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913',
    assetName: 'USD Coin',
    assetVersion: '2',
  },
  rpcUrls: ['https://mainnet.base.org'],
  confirmation: { depth: 12, depositConfirmations: 2, maxHeadAgeSec: 120 },
  coinPrice: 4_000_000_000n,
  paysForData: true,
  depositLimit: 50_000_000n,
}

const sepoliaUsdc = '0x036cbd53842c5426634e7929541ec2318f3dcf7e'

const baseSepolia: NetworkPreset = {
  name: 'base-sepolia',
  warning: null,
  terms: {
    chainId: 84532,
    caip2: 'eip155:84532',
    escrow: canonicalEscrow,
    collector: canonicalCollector,
    asset: sepoliaUsdc,
    assetName: 'USDC',
    assetVersion: '2',
  },
  rpcUrls: ['https://sepolia.base.org'],
  confirmation: { depth: 3, depositConfirmations: 1, maxHeadAgeSec: 120 },
  coinPrice: 0n,
  paysForData: true,
  depositLimit: null,
}

// A chain id of its own, so that nothing signed there is valid anywhere else.
const local: NetworkPreset = {
  name: 'local',
  warning: null,
  terms: { ...baseSepolia.terms, chainId: 31337, caip2: 'eip155:31337' },
  rpcUrls: ['http://127.0.0.1:8545'],
  confirmation: { depth: 1, depositConfirmations: 1, maxHeadAgeSec: null },
  coinPrice: 0n,
  paysForData: false,
  depositLimit: null,
}

/** Frozen throughout: a preset is read by many and changed by none. */
export const networks: Readonly<Record<NetworkName, NetworkPreset>> = Object.freeze({
  base: deepFreeze(base),
  'base-sepolia': deepFreeze(baseSepolia),
  local: deepFreeze(local),
})

export const networkNames = Object.keys(networks) as NetworkName[]

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part)
  return Object.freeze(value)
}
