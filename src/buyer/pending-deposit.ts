/** A deposit between its signature and its outcome: kept as it was signed, because only identical bytes are sent again. */
import { parseAmount, type Usdc } from '../wire/amount.ts'
import type { Erc3009Authorization } from '../wire/batch-settlement.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { expectObject, expectTimeSec } from '../wire/fields.ts'
import { asHex, asHex32, type Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'

export interface PendingDeposit {
  amount: Usdc
  authorization: Erc3009Authorization
}

/** Long enough for a slow chain, short enough that a lost outcome is certain soon. */
export const depositTtlSec = 600

export function signDeposit(
  parts: { network: NetworkTerms; digests: Digests; curve: Curve; payerKey: Hex },
  channel: { id: Hex; config: ChannelConfig },
  order: { amount: Usdc; salt: Hex; nowSec: number },
): PendingDeposit {
  const { network, digests, curve, payerKey } = parts
  const { amount, salt, nowSec } = order
  const validBefore = nowSec + depositTtlSec
  const digest = digests.receiveAuthorization(
    {
      name: network.assetName,
      version: network.assetVersion,
      chainId: network.chainId,
      asset: network.asset,
    },
    {
      from: channel.config.payer,
      to: network.collector,
      value: amount,
      validAfter: 0,
      validBefore,
      nonce: digests.depositNonce(channel.id, salt),
    },
  )
  const signature = curve.sign(digest, payerKey)
  return { amount, authorization: { validAfter: 0, validBefore, salt, signature } }
}

export function encodePendingDeposit({ amount, authorization }: PendingDeposit): string {
  return JSON.stringify({ amount: amount.toString(), ...authorization })
}

export function parsePendingDeposit(text: string): PendingDeposit {
  const fields = expectObject(JSON.parse(text), 'deposit')
  return {
    amount: parseAmount(fields['amount'], 'amount'),
    authorization: {
      validAfter: expectTimeSec(fields['validAfter'], 'validAfter'),
      validBefore: expectTimeSec(fields['validBefore'], 'validBefore'),
      salt: asHex32(fields['salt'], 'salt'),
      signature: asHex(fields['signature'], 'signature'),
    },
  }
}
