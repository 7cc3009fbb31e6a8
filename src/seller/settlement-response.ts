/** PAYMENT-RESPONSE of a paid reply: what x402 clients book, with our receipt for those that understand it. */
import type { Usdc } from '../wire/amount.ts'
import { encodeReceiptExtension, openseedExtension, type Final } from '../wire/extension.ts'
import { checksummed } from '../wire/hex.ts'
import type { SignedReceipt } from '../wire/receipt.ts'
import { encodeHeader } from '../wire/x402.ts'
import type { Admitted } from './gate.ts'
import { channelState } from './payment-terms.ts'

export interface Settled {
  chargedAmount: Usdc
  /** the cumulative that this client is told */
  cumulative: Usdc
  receipt: SignedReceipt | null
  finals: Final[]
}

export function settlementHeader(caip2: string, { entry, deposit }: Admitted, settled: Settled): string {
  const deposited = deposit?.kind === 'deposited' ? deposit : null
  const extension =
    settled.receipt === null && settled.finals.length === 0
      ? {}
      : { extensions: { [openseedExtension]: encodeReceiptExtension(settled) } }
  return encodeHeader({
    success: true,
    transaction: deposited?.txHash ?? '',
    network: caip2,
    payer: checksummed(entry.config.payer),
    amount: deposited?.amount.toString() ?? '',
    extra: {
      chargedAmount: settled.chargedAmount.toString(),
      channelState: channelState(entry, settled.cumulative),
    },
    ...extension,
  })
}
