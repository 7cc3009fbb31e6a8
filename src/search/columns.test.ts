import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyRow, searchRow } from '../../test/fixtures/search.ts'
import { cellOf, fitColumns, jsonOf, modelColumns, nodeColumns } from './columns.ts'
import { fieldNamed, fields } from './fields.ts'
import { onePerSeller, parseFields, parseSort, sortRows } from './sort.ts'

const textOf = (name: string, row = searchRow()) => cellOf(fieldNamed(name)!, row).text

test('what only the seller says carries a question mark, what binds it or was measured does not', () => {
  const row = searchRow({ evidence: { rttMs: 12.3, path: 'url' } })
  expect(textOf('tps', row)).toBe('42?')
  expect(textOf('region', row)).toBe('eu-west?')
  expect(textOf('hardware', row)).toBe('NVIDIA H100 80GiB?')
  expect(textOf('out', row)).toBe('$0.60')
  expect(textOf('rtt', row)).toBe('12ms')
  expect(textOf('reach', row)).toBe('direct')
  expect(textOf('reach')).toBe('direct?')
  expect(textOf('ttft', row)).toBe('-')
  expect(textOf('seller', row)).toMatch(/^12D3KooW.{8}$/)
})

test('a seller is reached directly by a public place of its own, else over a relay, else not', () => {
  const circuit = '/ip4/203.0.113.7/tcp/1/p2p/x/p2p-circuit/p2p/y'
  const reach = (url: string | null, ...addrs: string[]) =>
    textOf('reach', searchRow({ body: { url, addrs } }))
  expect(reach(null, circuit)).toBe('relay?')
  expect(reach(null, circuit, '/ip4/203.0.113.9/tcp/8405')).toBe('direct?')
  expect(reach('https://seller.example.com', circuit)).toBe('direct?')
  expect(reach('http://10.0.0.7:8403', circuit)).toBe('relay?')
  expect(reach(null)).toBe('-')
  expect(reach(null, '/ip4/192.168.1.2/tcp/8405')).toBe('-')
  expect(textOf('reach', searchRow({ evidence: { rttMs: 5, path: 'relayed' } }))).toBe('relay')
})

test('what registries saw is the middle of it, and of two the worse', () => {
  const success = (...values: number[]) =>
    textOf('success', searchRow({ observed: values.map((success) => ({ success })) }))
  expect(success(1, 0.5, 0.9)).toBe('90%')
  expect(success(1, 0.5)).toBe('50%')
  expect(success()).toBe('-')
  expect(textOf('success', searchRow({ observed: [{}, { success: 0.99 }] }))).toBe('99%')
  const own = { asked: 4, answered: 3 }
  expect(textOf('success', searchRow({ observed: [{ success: 0.99 }], evidence: { own } }))).toBe('75%')
  expect(textOf('uptime', searchRow({ observed: [{ uptime: 0.2 }, { uptime: 0.9 }, { uptime: 1 }] }))).toBe(
    '90%',
  )
})

test('programs get raw values and which of them are claims', () => {
  const json = jsonOf(searchRow({ evidence: { rttMs: 5, path: 'direct' } }))
  expect(json).toMatchObject({ out: 600_000n, ctx: 131_072, rtt: 5, ttft: null, warm: 'yes' })
  expect(json.claimed).toContain('region')
  expect(json.measured).toEqual(expect.arrayContaining(['rtt', 'age', 'reach']))
  expect(json.claimed).not.toContain('ttft')
})

test('the usual columns exist, and names of fields are never two fields', () => {
  expect(parseFields(modelColumns)).toHaveLength(16)
  expect(parseFields(nodeColumns).length).toBeGreaterThan(10)
  const names = fields.flatMap(({ name, aliases }) => [name, ...aliases])
  expect(new Set(names).size).toBe(names.length)
})

test('in a narrow window columns without values go first, then the least needed, and seller and price stay', () => {
  const chosen = parseFields(modelColumns)
  const cells = [chosen.map((field) => cellOf(field, searchRow()))]
  expect(fitColumns(chosen, cells, Infinity).hidden).toEqual([])
  const names = (room: number) => fitColumns(chosen, cells, room).hidden.map(({ name }) => name)
  const firstToGo = Array.from({ length: 200 }, (_, less) => names(200 - less)).find(
    ({ length }) => length > 0,
  )
  expect(firstToGo).toEqual(['ttft'])
  expect(names(10)).toEqual(expect.arrayContaining(['ttft', 'success', 'rtt', 'hardware']))
  expect(names(10)).not.toContain('seller')
  expect(names(10)).not.toContain('out')
})

test('one seller with an endless name takes no column from the others', () => {
  const chosen = parseFields(modelColumns)
  const hidden = (id: string) =>
    fitColumns(chosen, [chosen.map((field) => cellOf(field, searchRow({ model: { id } })))], 190).hidden
  expect(hidden('m'.repeat(256))).toEqual(hidden('m'.repeat(32)))
})

test('rows are in the order of the keys, the unknown last in both directions', () => {
  fc.assert(
    fc.property(
      fc.array(anyRow, { maxLength: 15 }),
      fc.constantFrom('out', '-out', 'tps', '-region,ctx'),
      (rows, keys) => {
        const [{ field, descending }] = parseSort(keys) as [ReturnType<typeof parseSort>[0]]
        const values = sortRows(rows, parseSort(keys)).map((row) => field.read(row).value)
        const present = values.filter((value) => value !== null)
        expect(values.slice(0, present.length)).toEqual(present)
        for (let at = 1; at < present.length; at += 1) {
          const [before, after] = [present[at - 1]!, present[at]!]
          expect(descending ? before >= after : before <= after).toBe(true)
        }
        expect(sortRows(rows.toReversed(), parseSort(keys)).map((row) => field.read(row).value)).toEqual(
          values,
        )
      },
    ),
  )
})

test('of each seller the best row stands for it', () => {
  const rows = [
    searchRow({ seller: 0, model: { out: 2n } }),
    searchRow({ seller: 1, model: { out: 3n } }),
    searchRow({ seller: 0, model: { out: 1n } }),
  ]
  expect(onePerSeller(sortRows(rows, parseSort('out'))).map(({ model }) => model?.out)).toEqual([1n, 3n])
})
