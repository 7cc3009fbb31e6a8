import type { ReceiptView } from '../node/receipts-tools.ts'

const columns = [
  'at',
  'role',
  'seller',
  'buyer',
  'model',
  'inputTokens',
  'cachedTokens',
  'outputTokens',
  'charged',
  'chargedUsd',
  'ceiling',
  'cumulative',
  'disputed',
  'requestId',
  'channelId',
  'offerHash',
] as const satisfies readonly (keyof ReceiptView)[]

/** RFC 4180. `charged`, `ceiling` and `cumulative` in atomic USDC. */
export function receiptsCsv(receipts: readonly ReceiptView[]): string {
  const lines = receipts.map((receipt) => columns.map((name) => cell(receipt[name])).join(','))
  return [columns.join(','), ...lines].map((line) => `${line}\r\n`).join('')
}

function cell(value: string | number | bigint | null): string {
  if (typeof value !== 'string') return value === null ? '' : value.toString()
  // Names are a stranger's choice, and spreadsheets run what begins like this.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
