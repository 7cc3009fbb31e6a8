/** Numbers as people write them: `24GiB`, `$0.30`, `200ms`, `32k`, `95%`. What is formatted here parses to the same value. */
import { formatUsd, parseUsd } from '../wire/amount.ts'

/** Values: money in atomic USDC, sizes in GiB, durations in ms, shares from 0 to 1, everything else as it is. */
export type QuantityKind = 'money' | 'tokens' | 'count' | 'rate' | 'size' | 'share' | 'duration'

/** Money is a bigint, the others are numbers; the two compare with each other. */
export type Quantity = number | bigint

/** How to write a value of this kind, for errors. */
export const examples: Readonly<Record<QuantityKind, string>> = {
  money: '$0.30 (USD, at most six decimals)',
  tokens: '32768, 32k or 32Ki',
  count: '2',
  rate: '50 or 50tok/s',
  size: '24GiB',
  share: '95% or 0.95',
  duration: '200ms, 1.5s or 2m',
}

const units: Readonly<Record<Exclude<QuantityKind, 'money'>, Readonly<Record<string, number>>>> = {
  tokens: { '': 1, k: 1e3, m: 1e6, ki: 1024, mi: 1024 ** 2 },
  count: { '': 1 },
  rate: { '': 1, 'tok/s': 1, 't/s': 1, tps: 1 },
  size: {
    '': 1,
    mib: 1 / 1024,
    gib: 1,
    tib: 1024,
    mb: 1e6 / 1024 ** 3,
    gb: 1e9 / 1024 ** 3,
    tb: 1e12 / 1024 ** 3,
  },
  share: { '': 1, '%': 0.01 },
  // Without a unit nobody could tell whether an age of 60 means a minute or a blink.
  duration: { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 },
}

const amount = /^\$?\d{1,12}(?:\.\d{1,6})?$/
const measure = /^(\d{1,21}(?:\.\d{1,30})?(?:e[+-]?\d{1,3})?)([a-z%/]*)$/i

/** Null when the text is no value of this kind. */
export function parseQuantity(kind: QuantityKind, text: string): Quantity | null {
  if (kind === 'money') return amount.test(text) ? parseUsd(text) : null
  const [, digits, unit] = measure.exec(text) ?? []
  if (digits === undefined || unit === undefined) return null
  const factor = Object.entries(units[kind]).find(([name]) => name === unit.toLowerCase())?.[1]
  if (factor === undefined) return null
  const value = unit === '%' ? Number(digits) / 100 : Number(digits) * factor
  if (!Number.isFinite(value)) return null
  if (kind === 'share') return value <= 1 ? value : null
  return (kind === 'tokens' || kind === 'count') && !Number.isSafeInteger(value) ? null : value
}

/** Exact: for filters that a command line will read again. */
export function formatQuantity(kind: QuantityKind, value: Quantity): string {
  if (typeof value === 'bigint') return formatUsd(value)
  if (kind === 'tokens') return formatTokens(value)
  if (kind === 'size') return `${value}GiB`
  if (kind === 'duration') return `${value}ms`
  return String(value)
}

/** Rounded: for the eye. */
export function showQuantity(kind: QuantityKind, value: Quantity): string {
  if (typeof value === 'bigint' || kind === 'tokens' || kind === 'count') return formatQuantity(kind, value)
  if (kind === 'size') return `${roundTo(value, 1)}GiB`
  if (kind === 'share') return `${roundTo(value * 100, 1)}%`
  if (kind === 'duration') return showDuration(value)
  return String(roundTo(value, value < 10 ? 1 : 0))
}

function formatTokens(value: number): string {
  if (value > 0 && value % 1024 === 0) return `${value / 1024}Ki`
  return value > 0 && value % 1000 === 0 ? `${value / 1000}k` : String(value)
}

function showDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  if (ms < 60_000) return `${roundTo(ms / 1_000, 1)}s`
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)}m`
  return ms < 86_400_000 ? `${Math.floor(ms / 3_600_000)}h` : `${Math.floor(ms / 86_400_000)}d`
}

function roundTo(value: number, decimals: number): number {
  const scale = 10 ** decimals
  return Math.round(value * scale) / scale
}
