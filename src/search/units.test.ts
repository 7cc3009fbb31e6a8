import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatQuantity, parseQuantity, showQuantity, type QuantityKind } from './units.ts'

test.each<[QuantityKind, string, number | bigint]>([
  ['money', '$0.30', 300_000n],
  ['money', '2', 2_000_000n],
  ['tokens', '32k', 32_000],
  ['tokens', '32Ki', 32_768],
  ['tokens', '1M', 1_000_000],
  ['tokens', '32.5k', 32_500],
  ['count', '2', 2],
  ['rate', '50tok/s', 50],
  ['size', '24GiB', 24],
  ['size', '24', 24],
  ['size', '512MiB', 0.5],
  ['size', '1TiB', 1024],
  ['share', '95%', 0.95],
  ['share', '0.5', 0.5],
  ['duration', '200ms', 200],
  ['duration', '1.5s', 1_500],
  ['duration', '2min', 120_000],
])('as %s, %s is %s', (kind, text, value) => {
  expect(parseQuantity(kind, text)).toBe(value)
})

test.each<[QuantityKind, string]>([
  ['money', '0.0000001'],
  ['money', '-1'],
  ['money', '1e3'],
  ['tokens', '1.5'],
  ['tokens', '32kb'],
  ['count', '1.5'],
  ['share', '95'],
  ['share', '101%'],
  ['duration', '60'],
  ['size', '24Ki'],
  ['rate', ''],
  ['rate', 'fast'],
  ['rate', '1constructor'],
  ['rate', '1e400'],
  ['size', '1valueOf'],
])('as %s, %s is nothing', (kind, text) => {
  expect(parseQuantity(kind, text)).toBeNull()
})

test('what is formatted parses to the same value', () => {
  const number = fc.oneof(fc.nat(), fc.double({ min: 1e-6, max: 1e9, noNaN: true }))
  const values = fc.oneof(
    fc.tuple(fc.constant('money' as const), fc.bigInt({ min: 0n, max: 10n ** 12n })),
    fc.tuple(fc.constantFrom<QuantityKind>('tokens', 'count'), fc.maxSafeNat()),
    fc.tuple(fc.constantFrom<QuantityKind>('rate', 'size', 'duration'), number),
    fc.tuple(fc.constant('share' as const), fc.double({ min: 0, max: 1, noNaN: true })),
  )
  fc.assert(
    fc.property(values, ([kind, value]) => {
      expect(parseQuantity(kind, formatQuantity(kind, value))).toEqual(value)
    }),
  )
})

test('for the eye values are rounded', () => {
  expect(showQuantity('duration', 1_234)).toBe('1.2s')
  expect(showQuantity('duration', 12.4)).toBe('12ms')
  expect(showQuantity('duration', 150_000)).toBe('2m')
  expect(showQuantity('size', 79.6471)).toBe('79.6GiB')
  expect(showQuantity('share', 0.98765)).toBe('98.8%')
  expect(showQuantity('rate', 41.52)).toBe('42')
  expect(showQuantity('tokens', 131_072)).toBe('128Ki')
  expect(showQuantity('money', 150_000n)).toBe('$0.15')
})
