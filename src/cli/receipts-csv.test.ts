import { expect, test } from 'vitest'
import type { ReceiptView } from '../node/receipts-tools.ts'
import type { TransferView } from '../node/transfer-tools.ts'
import { receiptsCsv } from './receipts-csv.ts'

const receipt: ReceiptView = {
  role: 'buyer',
  at: '2026-01-01T00:00:00.000Z',
  seller: 'https://seller',
  buyer: '0x01',
  model: 'tiny',
  channelId: '0x0a',
  requestId: '0x0b',
  offerHash: '0x0c',
  inputTokens: 1,
  cachedTokens: 0,
  outputTokens: 2,
  charged: 9_007_199_254_740_993n,
  chargedUsd: '$9007199254.740993',
  ceiling: 10n,
  cumulative: 11n,
  disputed: null,
}

test('amounts are written out, never rounded', () => {
  const [head, line] = receiptsCsv([receipt], []).split('\r\n')
  expect(head!.split(',')).toHaveLength(line!.split(',').length)
  expect(line).toContain(',9007199254740993,$9007199254.740993,10,11,,0x0b')
})

test('what a stranger named cannot break a line, nor run in a spreadsheet', () => {
  const model = '=HYPERLINK("x,\n")'
  expect(receiptsCsv([{ ...receipt, model }], [])).toContain(',"\'=HYPERLINK(""x,\n"")",')
})

test('a single transfer has a line of its own, with what is not known left empty', () => {
  const transfer: TransferView = {
    role: 'buyer',
    at: '2026-01-01T00:00:00.000Z',
    seller: 'https://stock',
    buyer: '0x01',
    model: 'tiny',
    nonce: '0x0d',
    amount: 5n,
    amountUsd: '$0.000005',
    charged: null,
    state: 'open',
    outcome: null,
    unlocksAt: '2026-01-01T00:10:00.000Z',
    txHash: null,
    bodyHash: '0x0e',
    receipt: null,
  }
  const [, line] = receiptsCsv([], [transfer]).split('\r\n')
  expect(line).toBe(
    '2026-01-01T00:00:00.000Z,buyer,https://stock,0x01,tiny,,,,,,5,,,0x0d,,,transfer,open,2026-01-01T00:10:00.000Z,',
  )
  const [, paid] = receiptsCsv([], [{ ...transfer, charged: 5n, state: 'final', txHash: '0x0f' }]).split(
    '\r\n',
  )
  expect(paid).toContain(',,,,5,$0.000005,5,,,0x0d,,,transfer,final,')
})
