import { OpenSeedError } from '../base/errors.ts'
import { refuseMessage } from './fields.ts'

/** Atomic USDC: 1 is 0.000001 USD. Always a bigint; a decimal string in JSON. */
export type Usdc = bigint

/** The largest amount there is: what a signed 64-bit database column holds (9.2 million million USD). */
export const maxUsdc: Usdc = 2n ** 63n - 1n

const amountPattern = /^(?:0|[1-9][0-9]{0,18})$/
const usdPattern = /^\$?([0-9]{1,12})(?:\.([0-9]{1,6}))?$/

/** Parses a canonical decimal string of atomic USDC, 0 to 2^63-1. Throws `invalid_message`. */
export function parseAmount(input: unknown, name = 'amount'): Usdc {
  if (typeof input === 'string' && amountPattern.test(input)) {
    const amount = BigInt(input)
    if (amount <= maxUsdc) return amount
  }
  return refuseMessage(name, 'a decimal string from 0 to 2^63-1')
}

/** Parses what people write, '0.05' or '$0.05' in USD with at most six decimals. Throws `config_invalid`. */
export function parseUsd(input: unknown): Usdc {
  const match = typeof input === 'string' ? usdPattern.exec(input) : null
  if (match === null)
    throw new OpenSeedError('config_invalid', {
      message: 'An amount of money must be USD with at most six decimals.',
      hint: 'Write it like 0.05 or $0.05.',
    })
  return BigInt(match[1]!) * 1_000_000n + BigInt((match[2] ?? '').padEnd(6, '0'))
}

/** USD for people: at least two decimals, at most six, nothing rounded. 1300n is '$0.0013'. */
export function formatUsd(amount: Usdc): string {
  const size = amount < 0n ? -amount : amount
  const decimals = (size % 1_000_000n)
    .toString()
    .padStart(6, '0')
    .replace(/0{1,4}$/, '')
  return `${amount < 0n ? '-' : ''}$${size / 1_000_000n}.${decimals}`
}

/**
 * What an amount of a chain's own coin is worth: `wei` of it in atomic USDC, where a whole coin (10^18 wei) is worth
 * `coinPrice`. Rounded up, so that nothing is taken for cheaper than it is.
 */
export const worthOfWei = (wei: bigint, coinPrice: Usdc): Usdc =>
  (wei * coinPrice + 10n ** 18n - 1n) / 10n ** 18n
