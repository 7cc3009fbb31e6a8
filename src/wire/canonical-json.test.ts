import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalJson, type JsonValue } from './canonical-json.ts'

test('canonical JSON sorts keys at every depth and keeps lists in order', () => {
  const text = canonicalJson({ b: [{ z: 1, a: null }, 'x'], a: { '10': true, '9': 1.5 }, é: '\u2028' })
  expect(text).toBe('{"a":{"10":true,"9":1.5},"b":[{"a":null,"z":1},"x"],"é":"\u2028"}')
})

test('canonical JSON of any JSON value reads back as that value and is its own canonical form', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const text = canonicalJson(value as JsonValue)
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
      expect(canonicalJson(JSON.parse(text))).toBe(text)
    }),
  )
})

test('what JSON cannot say and what is nested too deep is refused', () => {
  const cases: unknown[] = [
    undefined,
    Number.NaN,
    Infinity,
    1n,
    Symbol('x'),
    () => 1,
    [undefined],
    { a: undefined },
  ]
  // eslint-disable-next-line no-sparse-arrays -- the hole is the case
  for (const value of [...cases, [, 1], JSON.parse('['.repeat(50_000) + ']'.repeat(50_000))])
    expect(() => canonicalJson(value as JsonValue)).toThrow('A signed document must be plain JSON.')
})
