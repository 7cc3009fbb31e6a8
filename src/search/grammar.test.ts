import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyRow } from '../../test/fixtures/search.ts'
import { OpenSeedError } from '../base/errors.ts'
import { fields } from './fields.ts'
import { judge, quantityOperators, textOperators, writeFilter } from './filter.ts'
import { mostFilters, parseQuery } from './grammar.ts'
import { parseFields, parseSort } from './sort.ts'

const written = (query: string) =>
  parseQuery(query).map(({ field, operator, values }) => [field.name, operator, ...values])

function refusalOf(parse: () => unknown): OpenSeedError {
  try {
    parse()
  } catch (error) {
    if (error instanceof OpenSeedError) return error
    throw error
  }
  throw new Error('it was accepted')
}

test.each<[string, unknown[][]]>([
  ['', []],
  [
    'llama 70b',
    [
      ['model', 'has', 'llama'],
      ['model', 'has', '70b'],
    ],
  ],
  ['llama3.1:8b-q4', [['model', 'has', 'llama3.1:8b-q4']]],
  ['out<$0.30', [['out', '<', 300_000n]]],
  ['OUT <= 0.3', [['out', '<=', 300_000n]]],
  [
    'in<1 ctx>=32k',
    [
      ['in', '<', 1_000_000n],
      ['ctx', '>=', 32_000],
    ],
  ],
  ['region in eu-west, us', [['region', 'in', 'eu-west', 'us']]],
  ['region notin [eu,us]', [['region', 'notin', 'eu', 'us']]],
  ['vram in (24GiB,48)', [['vram', 'in', 24, 48]]],
  [
    'llama in<1',
    [
      ['model', 'has', 'llama'],
      ['in', '<', 1_000_000n],
    ],
  ],
  ['model == "qwen 2.5 (7B)"', [['model', '=', 'qwen 2.5 (7B)']]],
  [
    'model~^llama.*(8b|70b)$ caps=tools',
    [
      ['model', '~', '^llama.*(8b|70b)$'],
      ['caps', '=', 'tools'],
    ],
  ],
  [
    '"in" model',
    [
      ['model', 'has', 'in'],
      ['model', 'has', 'model'],
    ],
  ],
  ['tok/s>50', [['tps', '>', 50]]],
])('%j is understood', (query, filters) => {
  expect(written(query)).toEqual(filters)
})

test.each([
  ['llama prcie<0.3', 'prcie', 'Did you mean price?'],
  ['out<cheap', 'cheap', 'Write it like $0.30'],
  ['out<', '<', 'For example out>=$0.30'],
  ['out<<1', '<', 'For example'],
  ['region<eu', '<', 'It takes = != in notin ~'],
  ['ctx~4', '~', 'It takes < <= = != >= > in notin'],
  ['model~(', '(', 'A backslash'],
  ['reach=tunnel', 'tunnel', 'It is direct or relay.'],
  ['region in eu,', ',', 'For example'],
  ['region in [eu us', 'us', 'End it with ]'],
  ['region=eu,us', ',', 'region in eu,us'],
  ['<3', '<', 'begins with its field'],
  ['llama !', '!', 'Not equal is !='],
  ['"llama', '"llama', 'Close it with "'],
  ['age<60', '60', '200ms, 1.5s or 2m'],
])('%j is refused with a pointer at %j', (query, part, hint) => {
  const { code, details, hint: given } = refusalOf(() => parseQuery(query))
  const { at, length, pointer } = details as { at: number; length: number; pointer: string }
  expect(code).toBe('usage')
  expect(query.slice(at, at + length)).toBe(part)
  expect(pointer).toBe(`${query}\n${' '.repeat(at)}${'^'.repeat(length)}`)
  expect(given).toContain(hint)
})

test('too many conditions and too long a query are refused', () => {
  expect(refusalOf(() => parseQuery('a '.repeat(mostFilters + 1))).message).toContain('conditions')
  expect(refusalOf(() => parseQuery('a'.repeat(5_000))).message).toContain('too long')
})

test('whatever is typed is understood or refused with a pointer into it', () => {
  const signs = [
    '<',
    '<=',
    '=',
    '==',
    '!=',
    '>',
    '~',
    '!',
    'in',
    'notin',
    ',',
    '[',
    ']',
    '(',
    ')',
    '"',
    "'",
    '\\',
    ' ',
  ]
  const words = ['24GiB', '$0.30', '200ms', '32k', '95%', 'llama', 'eu', '[a-', '\n', '\u0000', 'é']
  const piece = fc.constantFrom(...fields.map(({ name }) => name), ...signs, ...words)
  const typed = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 12 }).map((list) => list.join('')),
  )
  fc.assert(
    fc.property(typed, fc.constantFrom(parseQuery, parseSort, parseFields), (text, parse) => {
      try {
        parse(text)
      } catch (error) {
        if (!(error instanceof OpenSeedError)) throw error
        const { at, length } = error.details as { at: number; length: number }
        expect(error.code).toBe('usage')
        expect(at).toBeGreaterThanOrEqual(0)
        expect(length).toBeGreaterThanOrEqual(0)
        expect(at + length).toBeLessThanOrEqual(text.length)
      }
    }),
    { numRuns: 300 },
  )
})

const word = fc.string({
  minLength: 1,
  maxLength: 8,
  unit: fc.constantFrom(
    'a',
    'B',
    '3',
    ' ',
    '"',
    "'",
    '\\',
    '(',
    ')',
    '.',
    ',',
    '<',
    '~',
    '=',
    '-',
    'in',
    'ctx',
  ),
})

test('a filter that is written out reads back as the same filter', () => {
  const term = fc.oneof(
    word.map((text) => `model="${text.replace(/["\\]/g, '\\$&')}"`),
    word.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`),
    fc
      .tuple(fc.constantFrom(...quantityOperators), fc.constantFrom('ctx', 'tps', 'vram'), fc.nat(99_999))
      .map(([operator, name, value]) => `${name} ${operator} ${value}`),
    fc
      .tuple(fc.constantFrom(...textOperators), fc.constantFrom('region', 'gpu', 'caps'))
      .map(([operator, name]) => `${name} ${operator} eu-west`),
  )
  fc.assert(
    fc.property(term, anyRow, (query, row) => {
      const [filter] = parseQuery(query)
      const again = parseQuery(writeFilter(filter!))
      expect(again).toHaveLength(1)
      expect(again[0]!.field).toBe(filter!.field)
      expect(judge(again[0]!, row)).toBe(judge(filter!, row))
      // A word with a dash in front is written as a pattern.
      if (again[0]!.operator === filter!.operator) expect(again[0]!.values).toEqual(filter!.values)
    }),
    { numRuns: 300 },
  )
})
