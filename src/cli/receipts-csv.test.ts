import { expect, test } from 'vitest'
import type { ReceiptView } from '../node/receipts-tools.ts'
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
  const [head, line] = receiptsCsv([receipt]).split('\r\n')
  expect(head!.split(',')).toHaveLength(line!.split(',').length)
  expect(line).toContain(',9007199254740993,$9007199254.740993,10,11,,0x0b')
})

test('what a stranger named cannot break a line, nor run in a spreadsheet', () => {
  const model = '=HYPERLINK("x,\n")'
  expect(receiptsCsv([{ ...receipt, model }])).toContain(',"\'=HYPERLINK(""x,\n"")",')
})
