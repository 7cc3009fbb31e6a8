/**
 * May a 402 of a seller that is not of ours be paid, and how? Pure. Nothing is believed but the header's fields, and of
 * them only what this node could have written itself: our chain, our token, an amount within the cap, and the host
 * that the user named. Texts, extensions and further fields are not read.
 */
import type { Usdc } from '../wire/amount.ts'
import { maxUsdc } from '../wire/amount.ts'
import { batchSettlement } from '../wire/batch-settlement.ts'
import { maxWithdrawDelaySec, minWithdrawDelaySec } from '../wire/channel.ts'
import { eip3009, exact } from '../wire/exact.ts'
import type { Address } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { PaymentRequired, PaymentRequirements } from '../wire/x402.ts'

export interface StockRules {
  network: NetworkTerms
  /** as the user named it */
  sellerUrl: string
  payer: Address
  maxPerRequest: Usdc
  /** the most that a deposit to this seller may be now */
  maxDeposit: Usdc
  /** whom this seller named earlier; null before the first payment */
  pinned: StockParty | null
}

/** Who is paid, and under which terms a channel with them stands. */
export interface StockParty {
  payTo: Address
  /** null where only single transfers were paid */
  lane: { receiverAuthorizer: Address; withdrawDelay: number } | null
}

export type StockChoice =
  | { kind: 'exact'; entry: PaymentRequirements; amount: Usdc; payTo: Address; validForSec: number }
  | {
      kind: 'lane'
      entry: PaymentRequirements
      amount: Usdc
      payTo: Address
      receiverAuthorizer: Address
      withdrawDelay: number
      minDeposit: Usdc
    }

export type StockVerdict =
  /** the best first: a channel costs less than a transfer for each request */
  { kind: 'pay'; choices: [StockChoice, ...StockChoice[]] } | { kind: 'refuse'; reason: string }

/** An authorization that outlives its request is a risk and of no use. */
export const longestValiditySec = 600
const shortestValiditySec = 10

export function judgeStock(required: PaymentRequired, rules: StockRules): StockVerdict {
  const host = URL.parse(required.resource.url)?.host
  if (host !== URL.parse(rules.sellerUrl)?.host)
    return { kind: 'refuse', reason: `it asks for a payment for ${required.resource.url.slice(0, 200)}` }
  const judged = required.accepts.map((entry) => judgeEntry(entry, rules))
  const [best, ...others] = judged.filter((one) => typeof one !== 'string').toSorted(compareChoices)
  if (best !== undefined) return { kind: 'pay', choices: [best, ...others] }
  const reasons = [...new Set(judged.filter((one) => typeof one === 'string'))]
  return { kind: 'refuse', reason: reasons.slice(0, 4).join('; ') }
}

/** Whom a choice pays, on top of what was known of them. */
export function partyOf(choice: StockChoice, pinned: StockParty | null): StockParty {
  const lane =
    choice.kind === 'lane'
      ? { receiverAuthorizer: choice.receiverAuthorizer, withdrawDelay: choice.withdrawDelay }
      : (pinned?.lane ?? null)
  return { payTo: choice.payTo, lane }
}

/** The choice, or why there is none. */
function judgeEntry(entry: PaymentRequirements, rules: StockRules): StockChoice | string {
  const { network, pinned } = rules
  const { scheme, extra = {} } = entry
  if (scheme !== exact && scheme !== batchSettlement) return `the scheme ${scheme} is not paid`
  if (entry.network !== network.caip2) return `it is paid on ${entry.network}, not on ${network.caip2}`
  if (asAddress(entry.asset) !== network.asset) return `it wants the token ${entry.asset}`
  if (extra['name'] !== network.assetName || extra['version'] !== network.assetVersion)
    return 'it names our token by another signing domain'
  const method = extra['assetTransferMethod'] ?? eip3009
  if (method !== eip3009) return 'it wants to be paid by another kind of transfer'
  const payTo = asAddress(entry.payTo)
  if (payTo === null || /^0x0+$/.test(payTo) || payTo === rules.payer) return 'it names nobody to be paid'
  if (pinned !== null && pinned.payTo !== payTo) return 'it is to be paid elsewhere than before'
  const amount = asAtomic(entry.amount)
  if (amount === null || amount === 0n) return `its amount is ${entry.amount.slice(0, 40)}`
  if (amount > rules.maxPerRequest) return `it costs ${amount}, more than the cap of ${rules.maxPerRequest}`
  if (entry.maxTimeoutSeconds < shortestValiditySec) return 'it leaves no time to pay'
  const common = { entry, amount, payTo }
  if (scheme === batchSettlement) return judgeLane(common, extra, rules)
  const validForSec = Math.min(Math.floor(entry.maxTimeoutSeconds), longestValiditySec)
  return { kind: 'exact', ...common, validForSec }
}

function judgeLane(
  common: { entry: PaymentRequirements; amount: Usdc; payTo: Address },
  extra: Record<string, unknown>,
  { pinned, maxDeposit }: StockRules,
): StockChoice | string {
  const receiverAuthorizer = asAddress(extra['receiverAuthorizer'])
  if (receiverAuthorizer === null || /^0x0+$/.test(receiverAuthorizer)) return 'its channel has no authorizer'
  const withdrawDelay = extra['withdrawDelay']
  const isInRange =
    Number.isSafeInteger(withdrawDelay) &&
    (withdrawDelay as number) >= minWithdrawDelaySec &&
    (withdrawDelay as number) <= maxWithdrawDelaySec
  if (!isInRange) return 'its withdraw delay is out of range'
  const lane = { receiverAuthorizer, withdrawDelay: withdrawDelay as number }
  const known = pinned?.lane ?? lane
  if (known.receiverAuthorizer !== lane.receiverAuthorizer || known.withdrawDelay !== lane.withdrawDelay)
    return 'its channel has other terms than before'
  const minDeposit = extra['minDeposit'] === undefined ? common.amount : asAtomic(extra['minDeposit'])
  if (minDeposit === null || minDeposit > maxDeposit)
    return 'it wants a larger deposit than the caps leave room for'
  return { kind: 'lane', ...common, ...lane, minDeposit }
}

// The seller's order says nothing: channels before transfers, then the cheaper.
function compareChoices(a: StockChoice, b: StockChoice): number {
  if (a.kind !== b.kind) return a.kind === 'lane' ? -1 : 1
  if (a.amount === b.amount) return 0
  return a.amount < b.amount ? -1 : 1
}

function asAddress(input: unknown): Address | null {
  return typeof input === 'string' && /^0x[0-9a-f]{40}$/i.test(input)
    ? (input.toLowerCase() as Address)
    : null
}

/** Canonical digits alone: no sign, point, exponent, unit or hex could be meant otherwise than it is read. */
function asAtomic(input: unknown): Usdc | null {
  if (typeof input !== 'string' || !/^(?:0|[1-9][0-9]{0,18})$/.test(input)) return null
  const amount = BigInt(input)
  return amount <= maxUsdc ? amount : null
}
