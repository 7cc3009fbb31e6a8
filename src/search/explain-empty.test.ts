import { spawnSync } from 'node:child_process'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyRow, searchRow } from '../../test/fixtures/search.ts'
import { searchCommand } from './command-line.ts'
import { explainEmpty } from './explain-empty.ts'
import { passesAll, writeFilter } from './filter.ts'
import { parseQuery } from './grammar.ts'
import { namedFilters } from './named-filters.ts'

const nearestOf = (rows: Parameters<typeof explainEmpty>[0], query: string) => {
  const { nearest } = explainEmpty(rows, parseQuery(query))
  return nearest && [nearest.filters.map(writeFilter).join(' '), nearest.finds]
}

const rows = [
  searchRow({ seller: 0, model: { id: 'llama-3.3-70b', out: 600_000n }, body: { region: 'eu-west' } }),
  searchRow({ seller: 1, model: { id: 'llama-3.3-70b', out: 400_000n }, body: { region: 'us' } }),
  searchRow({ seller: 2, model: { id: 'qwen-2.5', out: 100_000n }, body: { region: null } }),
]

test('each filter is told by what it takes away, alone and in its turn', () => {
  const { total, removals } = explainEmpty(rows, parseQuery('llama out<$0.30 region=eu-west'))
  expect(total).toBe(3)
  expect(removals.map(({ filter, ...counts }) => [filter.label, counts])).toEqual([
    ['llama', { removes: 1, unknown: 0, leaves: 2 }],
    ['out<$0.30', { removes: 2, unknown: 0, leaves: 0 }],
    ['region=eu-west', { removes: 2, unknown: 1, leaves: 0 }],
  ])
})

test('the nearest query gives way as little as it can', () => {
  expect(nearestOf(rows, 'llama out<$0.30')).toEqual(['llama out<=$0.40', 1])
  expect(nearestOf(rows, 'llama ctx>=1M')).toEqual(['llama ctx>=128Ki', 2])
  expect(nearestOf(rows, 'llama region=asia')).toEqual(['llama', 2])
  expect(nearestOf(rows, 'lama-3.3-70bb')).toEqual(['model=llama-3.3-70b', 2])
  expect(nearestOf(rows, 'llama out<$0.30 region=eu-west')).toEqual(['llama out<=$0.60 region=eu-west', 1])
  expect(nearestOf(rows, 'qwen region=us')).toEqual(['qwen', 1])
  expect(nearestOf(rows, 'llama region=eu out<=$0.50')).toEqual(['llama region=eu-west out<=$0.60', 1])
  expect(nearestOf(rows, 'model=llama region=us')).toEqual(['model=llama-3.3-70b region=us', 1])
  expect(nearestOf([], 'llama')).toBeNull()
})

test('the nearest query always finds something where there is anything', () => {
  const query = fc.constantFrom(
    'llama3.1 out<$0.01',
    'region=asia vram>=80GiB tps>500',
    'ctx>1M quant=fp16 state=stale rtt<1ms',
    'model~^gpt in<=0 caps=json',
    'gpu in A100,H200 out=$0.5 age<1ms',
  )
  fc.assert(
    fc.property(query, fc.array(anyRow, { minLength: 1, maxLength: 12 }), (text, rows) => {
      const filters = [...parseQuery(text), ...namedFilters({ gpu: 'B200', direct: true })]
      fc.pre(!rows.some((row) => passesAll(filters, row)))
      const { nearest, removals } = explainEmpty(rows, filters)
      const typed = parseQuery(nearest!.filters.map(writeFilter).join(' '))
      expect(rows.filter((row) => passesAll(typed, row))).toHaveLength(nearest!.finds)
      expect(nearest!.finds).toBeGreaterThan(0)
      expect(removals.at(-1)!.leaves).toBe(0)
    }),
  )
})

test.runIf(process.platform !== 'win32')('the command goes through a shell unharmed', () => {
  const filters = parseQuery(`"it's" out<=$0.30 gpu~"RTX 4090" region in eu,us`)
  const command = searchCommand(filters, { nodes: true })
  const echo = command.replace('openseed search', "printf '%s\\n'")
  const { stdout } = spawnSync('sh', ['-c', echo], { encoding: 'utf8' })
  const [flag, ...words] = stdout.trimEnd().split('\n')
  expect(flag).toBe('--nodes')
  expect(parseQuery(words.join(' ')).map(writeFilter)).toEqual(filters.map(writeFilter))
})
