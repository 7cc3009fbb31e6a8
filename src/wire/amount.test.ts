import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatUsd, maxUsdc, parseAmount, parseUsd, worthOfWei } from './amount.ts'

test('an amount is a canonical decimal string that fits a signed 64-bit column', () => {
  expect(parseAmount('0')).toBe(0n)
  expect(parseAmount(maxUsdc.toString())).toBe(2n ** 63n - 1n)
  for (const wrong of [
    '',
    '00',
    '01',
    '-1',
    '+1',
    '1.0',
    '1e3',
    ' 1',
    '0x1',
    '9223372036854775808',
    1,
    1n,
    null,
    undefined,
    ['1'],
  ])
    expect(() => parseAmount(wrong)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
})

test('every amount survives its decimal string', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: maxUsdc }), (amount) => {
      expect(parseAmount(amount.toString())).toBe(amount)
    }),
  )
})

test('USD is read exactly to the sixth decimal and no further', () => {
  expect(parseUsd('0.05')).toBe(50_000n)
  expect(parseUsd('$0.05')).toBe(50_000n)
  expect(parseUsd('3')).toBe(3_000_000n)
  expect(parseUsd('0.000001')).toBe(1n)
  for (const wrong of ['', '$', '.5', '1.', '0.0000001', '-1', '1,000', '1e3', 'abc', 0.05, null])
    expect(() => parseUsd(wrong)).toThrow(expect.objectContaining({ code: 'config_invalid' }))
})

test('USD is shown with two to six decimals and never rounded', () => {
  expect(formatUsd(1_300n)).toBe('$0.0013')
  expect(formatUsd(0n)).toBe('$0.00')
  expect(formatUsd(1_500_000n)).toBe('$1.50')
  expect(formatUsd(1n)).toBe('$0.000001')
  expect(formatUsd(-250_000n)).toBe('-$0.25')
})

test('what is shown reads back as the same amount', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 17n }), (amount) => {
      expect(parseUsd(formatUsd(amount))).toBe(amount)
    }),
  )
})

test('what a chain’s own coin is worth is never rounded down', () => {
  expect(worthOfWei(0n, 4_000_000_000n)).toBe(0n)
  expect(worthOfWei(1n, 4_000_000_000n)).toBe(1n)
  expect(worthOfWei(10n ** 18n, 4_000_000_000n)).toBe(4_000_000_000n)
  // 20,000 gas at 0.0125 gwei, with the coin at 4,000 USD: a tenth of a cent.
  expect(worthOfWei(20_000n * 12_500_000n, 4_000_000_000n)).toBe(1000n)
})
