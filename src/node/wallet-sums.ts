/** Where each unit of a wallet is. Pure; every unit is in exactly one place. */
import type { ChannelOnChain } from '../chain/escrow.ts'
import type { Usdc } from '../wire/amount.ts'

/** What is known of a channel when it is told apart. Amounts in atomic USDC. */
export interface ChannelFacts {
  /** deposits less refunds and withdrawals */
  balance: Usdc
  /** what receipts say */
  charged: Usdc
  /** null when the chain was not reached and never had been */
  chain: Pick<ChannelOnChain, 'totalClaimed' | 'withdrawAmount'> | null
  /** ceilings of requests that run */
  running: Usdc
  /** ceilings of requests whose reply was lost */
  lost: Usdc
  /** asked back, not seen on the chain yet */
  refunding: Usdc
}

/** The parts of a channel's balance: they add up to it. */
export interface ChannelParts {
  /** charged, whether the seller has claimed it or not */
  spent: Usdc
  held: Usdc
  unresolved: Usdc
  refunding: Usdc
  withdrawing: Usdc
  free: Usdc
}

/** What is more certain to be gone takes its part first, so that nothing is called free that may not be. */
export function splitChannel({
  balance,
  charged,
  chain,
  running,
  lost,
  refunding,
}: ChannelFacts): ChannelParts {
  let left = balance
  const take = (wanted: Usdc): Usdc => {
    const part = wanted < left ? wanted : left
    left -= part
    return part
  }
  const claimed = chain?.totalClaimed ?? 0n
  return {
    spent: take(charged > claimed ? charged : claimed),
    refunding: take(refunding),
    held: take(running),
    unresolved: take(lost),
    withdrawing: take(chain?.withdrawAmount ?? 0n),
    free: left,
  }
}

export interface WalletTotals {
  /** what was ever put into the wallet, less what left it for other places than channels */
  put: Usdc
  spent: Usdc
  /** put less spent, wherever it is */
  yours: Usdc
  /** what could be spent or sent elsewhere now: in the wallet and not promised to anybody */
  atHand: Usdc
}

/** `promised`: what of the wallet was signed away and not taken yet. Null without a word about the wallet. */
export function sumUp(
  wallet: { usdc: Usdc; promised: Usdc } | null,
  channels: readonly { balance: Usdc; spent: Usdc }[],
): WalletTotals | null {
  if (wallet === null) return null
  const put = channels.reduce((sum, { balance }) => sum + balance, wallet.usdc)
  const spent = channels.reduce((sum, channel) => sum + channel.spent, 0n)
  return { put, spent, yours: put - spent, atHand: wallet.usdc - wallet.promised }
}
