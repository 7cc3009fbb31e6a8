import { expect, test } from 'vitest'
import { openRandomWords } from './random.ts'

test('words are 32 bytes and never come twice, also across refills', () => {
  const next = openRandomWords()
  const words = Array.from({ length: 1000 }, next)
  expect(words.every((word) => /^0x[0-9a-f]{64}$/.test(word))).toBe(true)
  expect(new Set(words).size).toBe(1000)
})
