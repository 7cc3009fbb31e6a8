import { expect, test } from 'vitest'
import { loadTokenCounter } from './tokens.ts'

test('the counter counts like o200k, and control tokens as text', async () => {
  const count = await loadTokenCounter()
  expect(count('hello world')).toBe(2)
  expect(count('')).toBe(0)
  expect(count('<|endoftext|>')).toBeGreaterThan(1)
})

test('long runs and megabytes are counted without stalling, within a few percent', async () => {
  const count = await loadTokenCounter()
  const line = 'The quick brown fox jumps over the lazy dog. '
  const short = count(line.repeat(300))
  expect(count(line.repeat(300_000)) / (short * 1000)).toBeCloseTo(1, 1)
  const startedAt = performance.now()
  count('日本'.repeat(500_000))
  expect(performance.now() - startedAt).toBeLessThan(4000)
})
