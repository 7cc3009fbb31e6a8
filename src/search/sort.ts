import { fieldNamed, nearestField, type Field, type FieldValue } from './fields.ts'
import type { Row } from './listing.ts'
import { refuseQuery } from './query-error.ts'

export interface SortKey {
  field: Field
  descending: boolean
}

/** `out` or `-tps,out`: a dash in front turns the order round. Throws `usage`. */
export function parseSort(text: string): SortKey[] {
  return splitNames(text).map(({ name, at }) => {
    const descending = name.startsWith('-')
    return { field: fieldOf(text, descending ? name.slice(1) : name, at + Number(descending)), descending }
  })
}

/** `seller,model,out`. Throws `usage`. */
export function parseFields(text: string): Field[] {
  return splitNames(text).map(({ name, at }) => fieldOf(text, name, at))
}

/** What is unknown comes last in both directions. Rows that are equal keep one order from call to call. */
export function sortRows(rows: readonly Row[], keys: readonly SortKey[]): Row[] {
  const readers = [...keys, ...tieBreakers]
  const read = (row: Row) => readers.map(({ field }) => comparable(field.read(row).value))
  return rows
    .map((row) => ({ row, values: read(row) }))
    .toSorted((a, b) => {
      for (const [at, { descending }] of readers.entries()) {
        const order = compare(a.values[at]!, b.values[at]!, descending)
        if (order !== 0) return order
      }
      return 0
    })
    .map(({ row }) => row)
}

/** The first row of each seller. */
export function onePerSeller(rows: readonly Row[]): Row[] {
  const seen = new Set<string>()
  return rows.filter(({ listing: { record } }) => !seen.has(record.peer) && seen.add(record.peer))
}

const tieBreakers: readonly SortKey[] = ['seller', 'model'].map((name) => ({
  field: fieldNamed(name)!,
  descending: false,
}))

type Comparable = string | number | bigint | null

function comparable(value: FieldValue): Comparable {
  return typeof value === 'object' && value !== null ? value.join(',') : value
}

function compare(a: Comparable, b: Comparable, descending: boolean): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null)
  if (a === b) return 0
  return a < b === descending ? 1 : -1
}

function splitNames(text: string): { name: string; at: number }[] {
  let at = 0
  return text.split(',').map((part) => {
    const begin = at + (part.length - part.trimStart().length)
    at += part.length + 1
    return { name: part.trim(), at: begin }
  })
}

function fieldOf(text: string, name: string, at: number): Field {
  const field = fieldNamed(name)
  if (field) return field
  const meant = name === '' ? null : nearestField(name)
  return refuseQuery(
    text,
    { at, end: at + name.length },
    name === '' ? 'A field is missing.' : `"${name}" is no field.`,
    meant ? `Did you mean ${meant}?` : 'openseed search --help lists the fields.',
  )
}
