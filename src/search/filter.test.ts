import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyRow, searchRow } from '../../test/fixtures/search.ts'
import { passesAll } from './filter.ts'
import { parseQuery } from './grammar.ts'
import type { Row } from './listing.ts'
import { namedFilters } from './named-filters.ts'
import { modelsAskedFor, pushDown } from './push-down.ts'

type Naive = (row: Row) => boolean

const known = <T>(value: T | null | undefined, test: (value: T) => boolean): boolean =>
  value !== null && value !== undefined && test(value)
const lower = (text: string) => text.toLowerCase()
const body = (row: Row) => row.listing.record.body

const conditions = fc.oneof(
  fc
    .constantFrom('llama', '70B', '3', 'x')
    .map((word): [string, Naive] => [
      word,
      ({ model }) => known(model, ({ id }) => lower(id).includes(lower(word))),
    ]),
  fc
    .tuple(fc.constantFrom('<', '<=', '>=', '>', '=', '!='), fc.nat(1_000_000))
    .map(([operator, amount]): [string, Naive] => {
      const holds: Record<string, (a: bigint, b: bigint) => boolean> = {
        '<': (a, b) => a < b,
        '<=': (a, b) => a <= b,
        '>=': (a, b) => a >= b,
        '>': (a, b) => a > b,
        '=': (a, b) => a === b,
        '!=': (a, b) => a !== b,
      }
      const usd = (amount / 1e6).toFixed(6)
      return [
        `out${operator}$${usd}`,
        ({ model }) => known(model, ({ out }) => holds[operator]!(out, BigInt(amount))),
      ]
    }),
  fc
    .constantFrom(4_096, 32_000, 32_001)
    .map((tokens): [string, Naive] => [
      `ctx>=${tokens}`,
      ({ model }) => known(model, ({ ctx }) => ctx >= tokens),
    ]),
  fc.constantFrom<[string, Naive]>(
    [
      'region in EU-west,us',
      (row) => known(body(row).region, (region) => ['eu-west', 'us'].includes(region)),
    ],
    ['region notin us', (row) => known(body(row).region, (region) => region !== 'us')],
    ['region!=us', (row) => known(body(row).region, (region) => region !== 'us')],
    ['vram>=24GiB', (row) => known(body(row).hardware?.vramGiB, (size) => size >= 24)],
    ['gpu~^rtx', (row) => known(body(row).hardware?.gpu, (gpu) => lower(gpu).startsWith('rtx'))],
    ['caps=tools', ({ model }) => known(model, ({ caps }) => caps.includes('tools'))],
    ['caps!=tools', ({ model }) => known(model, ({ caps }) => !caps.includes('tools'))],
    ['quant=fp8', ({ model }) => known(model?.quant, (quant) => quant === 'FP8')],
    ['rtt<200ms', ({ listing }) => known(listing.evidence.rttMs, (ms) => ms < 200)],
    ['age<90s', ({ listing }) => listing.ageMs < 90_000],
    ['state=live', ({ listing }) => listing.state === 'live'],
    ['tps>=40', ({ listing }) => known(listing.heartbeat?.body.tps, (tps) => tps >= 40)],
  ),
)

test('what passes is what a naive reading of every condition lets pass', () => {
  fc.assert(
    fc.property(
      fc.array(conditions, { maxLength: 4 }),
      fc.array(anyRow, { maxLength: 20 }),
      (chosen, rows) => {
        const filters = parseQuery(chosen.map(([query]) => query).join(' '))
        const passing = rows.filter((row) => passesAll(filters, row))
        expect(passing).toEqual(rows.filter((row) => chosen.every(([, holds]) => holds(row))))
      },
    ),
    { numRuns: 500 },
  )
})

test('a registry that does its part leaves out nothing that passes', () => {
  fc.assert(
    fc.property(fc.array(conditions, { maxLength: 4 }), anyRow, (chosen, row) => {
      const filters = parseQuery(chosen.map(([query]) => query).join(' '))
      const { model } = row
      if (model === null || !passesAll(filters, row)) return
      const { maxPrice, maxIn, maxOut, minContext } = pushDown(filters)
      const mixed = (3n * model.in + model.out) / 4n
      expect(maxPrice === undefined || mixed <= maxPrice).toBe(true)
      expect(maxIn === undefined || model.in <= maxIn).toBe(true)
      expect(maxOut === undefined || model.out <= maxOut).toBe(true)
      expect(minContext === undefined || model.ctx >= minContext).toBe(true)
      expect(modelsAskedFor(filters, [model.id]) ?? [model.id]).toEqual([model.id])
    }),
  )
})

test('what nobody knows passes no condition, not even that it differs', () => {
  const row = searchRow({ body: { region: null } })
  expect(passesAll(parseQuery('region=us'), row)).toBe(false)
  expect(passesAll(parseQuery('region!=us'), row)).toBe(false)
})

test('the named options are the conditions they stand for', () => {
  const filters = namedFilters({
    maxPrice: '$0.30',
    minCtx: '32k',
    region: 'eu-west, us',
    gpu: 'RTX (4090)',
    direct: true,
  })
  expect(filters.map(({ field, operator, values }) => [field.name, operator, ...values])).toEqual([
    ['price', '<=', 300_000n],
    ['ctx', '>=', 32_000],
    ['region', 'in', 'eu-west', 'us'],
    ['gpu', 'has', 'RTX (4090)'],
    ['reach', '=', 'direct'],
  ])
  expect(() => namedFilters({ maxPrice: 'cheap' })).toThrow(
    '--max-price cheap: "cheap" is no value of price.',
  )
  expect(() => namedFilters({ minCtx: '' })).toThrow('--min-ctx')
})

test('the mixed price is at most an amount exactly when three prompt tokens and one generated one are', () => {
  const row = searchRow({ model: { in: 1n, out: 0n } })
  expect(passesAll(parseQuery('price<=0'), row)).toBe(false)
  expect(passesAll(parseQuery('price<=0.000001'), row)).toBe(true)
})

test('an expression that a seller can make run for years is cut off and refused', () => {
  const row = searchRow({ model: { id: `${'a'.repeat(255)}!` } })
  for (const pattern of ['(a+)+$', '.*.*.*.*.*=', 'a{1,50}a{1,50}a{1,50}a{1,50}b'])
    expect(() => passesAll(parseQuery(`model~${pattern}`), row)).toThrow('takes too long')
})

test('an expression whose work adds up over many sellers is refused too', () => {
  const rows = Array.from({ length: 3_000 }, (_, n) => searchRow({ model: { id: `${n}${'a'.repeat(250)}` } }))
  const [filter] = parseQuery('model~a.*a.*b')
  expect(() => rows.filter((row) => passesAll([filter!], row))).toThrow('takes too long')
})

test('an expression that has to be watched is asked of thousands of sellers, again and again', () => {
  const rows = Array.from({ length: 2_000 }, (_, n) => searchRow({ model: { id: `llama-${n}` } }))
  const filters = parseQuery('model~^([a-z]+-?)+7$ model~lla?ma')
  for (let time = 0; time < 20; time += 1)
    expect(rows.filter((row) => passesAll(filters, row))).toHaveLength(1)
})

test('usual expressions find what they describe, one that has to be watched too', () => {
  const row = searchRow({ model: { id: 'llama-3.3-70b-instruct' } })
  for (const pattern of ['^llama-3\\.[13].*(70b|8b).*instruct$', '^([a-z0-9.]+-?)+$', '(l)\\1'])
    expect(passesAll(parseQuery(`model~${pattern}`), row)).toBe(true)
  expect(passesAll(parseQuery('model~^([a-z]+-?)+$'), row)).toBe(false)
})
