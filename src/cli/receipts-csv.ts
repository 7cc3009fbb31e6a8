import { formatUsd } from '../wire/amount.ts'
import type { ReceiptView } from '../node/receipts-tools.ts'
import type { TransferView } from '../node/transfer-tools.ts'

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

// Of single transfers alone.
const transferColumns = ['state', 'unlocksAt', 'txHash'] as const satisfies readonly (keyof TransferView)[]

/**
 * RFC 4180. `charged`, `ceiling` and `cumulative` in atomic USDC. A single transfer has its nonce as request id, its
 * amount as ceiling, and no channel.
 */
export function receiptsCsv(receipts: readonly ReceiptView[], transfers: readonly TransferView[]): string {
  const lines = [
    ...receipts.map((receipt) => [...columns.map((name) => receipt[name]), 'receipt', ...blanks]),
    ...transfers.map((transfer) => [
      ...columns.map((name) => transferCell(transfer, name)),
      'transfer',
      ...transferColumns.map((name) => transfer[name]),
    ]),
  ]
  const texts = lines.map((cells) => cells.map(cell).join(','))
  return [[...columns, 'kind', ...transferColumns].join(','), ...texts].map((line) => `${line}\r\n`).join('')
}

const blanks = transferColumns.map(() => null)

function transferCell(transfer: TransferView, name: (typeof columns)[number]) {
  if (name === 'requestId') return transfer.nonce
  if (name === 'ceiling') return transfer.amount
  if (name === 'chargedUsd') return transfer.charged === null ? null : formatUsd(transfer.charged)
  return name in transfer ? transfer[name as keyof TransferView & (typeof columns)[number]] : null
}

function cell(value: string | number | bigint | null): string {
  if (typeof value !== 'string') return value === null ? '' : value.toString()
  // Names are a stranger's choice, and spreadsheets run what begins like this.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
