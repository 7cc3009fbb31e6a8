import { expect, test } from 'vitest'
import { StockSellers } from './stock-sellers.ts'

const url = 'http://seller.test'
const broken = { kind: 'broken', why: 'seller_stream_broken' } as const

test('junk for money ends the relation at once; broken answers end it when they keep coming', () => {
  const sellers = new StockSellers()
  for (const how of [broken, broken, { kind: 'answer' }, broken, broken, { kind: 'left' }] as const)
    sellers.noteEnd(url, how)
  expect(sellers.distrust(url)).toBeNull()
  sellers.noteEnd(url, broken)
  expect(sellers.distrust(url)).toContain('3 answers')
  const other = 'http://other.test'
  sellers.noteEnd(other, { kind: 'junk', why: 'the reply was no JSON' })
  expect(sellers.distrust(other)).toContain('no JSON')
})
