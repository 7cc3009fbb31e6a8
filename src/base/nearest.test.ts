import { expect, test } from 'vitest'
import { nearest } from './nearest.ts'

test('a mistyped word is taken for the nearest one', () => {
  expect(nearest('prcie', ['in', 'price', 'out'])).toBe('price')
  expect(nearest('IM', ['in', 'out'])).toBe('in')
})

test('a word that shares nothing with a short one is not taken for it', () => {
  expect(nearest('xy', ['in', 'out'])).toBeNull()
  expect(nearest('GiB', ['in'])).toBeNull()
  expect(nearest('', ['in', 'out'])).toBeNull()
})
