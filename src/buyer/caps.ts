/** The limits a buyer set itself, and the errors that say which one stops a request. */
import { OpenSeedError } from '../base/errors.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'

export interface BuyerCaps {
  maxPerRequest: Usdc
  /** unspent deposit at one seller */
  maxDepositPerSeller: Usdc
  /** charges and possible charges of 24 hours; deposits of 24 hours as well */
  maxPerDay: Usdc
  /** signed beyond what was charged, at one seller */
  maxExposure: Usdc
  /** ceilings of lost outcomes, at one seller */
  maxUnresolved: Usdc
}

export function overPerRequest(ceiling: Usdc, cap: Usdc): OpenSeedError {
  return new OpenSeedError('budget_exceeded', {
    message: `This request may cost up to ${formatUsd(ceiling)}; the cap for one is ${formatUsd(cap)}.`,
    hint: 'Set a lower max_tokens, or raise buy.max_per_request (--max-per-request).',
    details: { ceiling: ceiling.toString(), cap: cap.toString() },
  })
}

export function overPerDay(spent: Usdc, ceiling: Usdc, cap: Usdc): OpenSeedError {
  return new OpenSeedError('budget_exceeded', {
    message: `The last 24 hours cost ${formatUsd(spent)}, what still runs included; up to ${formatUsd(ceiling)} more would pass the cap of ${formatUsd(cap)} a day.`,
    hint: 'Wait, or raise buy.max_per_day (--max-per-day).',
    details: { spent: spent.toString(), ceiling: ceiling.toString(), cap: cap.toString() },
  })
}

export function overDeposit(
  needed: Usdc,
  room: Usdc,
  name: 'max_deposit_per_seller' | 'max_per_day',
): OpenSeedError {
  const left = room > 0n ? room : 0n
  return new OpenSeedError('budget_exceeded', {
    message: `The channel needs a deposit of ${formatUsd(needed)}; buy.${name} leaves ${formatUsd(left)}.`,
    hint: `Raise buy.${name} (--${name.replaceAll('_', '-')}).`,
    details: { needed: needed.toString(), room: left.toString() },
  })
}

export function overExposure(seller: string, cap: Usdc): OpenSeedError {
  return new OpenSeedError('budget_exceeded', {
    message: `Requests that run at ${seller} may cost ${formatUsd(cap)} already, which is the most it may hold signed.`,
    hint: 'Wait for some to finish, or raise buy.max_exposure in the config.',
  })
}

export function outcomesUnknown(seller: string, retryAfterSec: number, why: string): OpenSeedError {
  return new OpenSeedError('money_outcome_unknown', {
    message: `Nothing more is signed for ${seller} now: ${why}.`,
    hint: `Try again in ${Math.max(1, Math.ceil(retryAfterSec))} s; openseed channels list shows how things stand.`,
    details: { retryAfterSec: Math.max(1, retryAfterSec) },
  })
}
