/** A deposit settled: the seller's facilitator put it on chain, or found it there already. */
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'

export type SettledDeposit =
  | { kind: 'deposited'; amount: Usdc; txHash: Hex }
  | { kind: 'already-used' }
  | { kind: 'refused'; reason: string }
