import { fields, type Fact, type Field } from './fields.ts'
import type { Row } from './listing.ts'
import { isQuantity } from './filter.ts'
import { showQuantity } from './units.ts'

/** What is shown when nobody chooses. */
export const modelColumns =
  'seller,model,quant,ctx,in,cached,out,tps,ttft,success,load,reach,region,rtt,hardware,age'
export const nodeColumns =
  'seller,gpus,gpu,vram,cpu,ram,out,tps,success,load,free,reach,region,rtt,uptime,age'

export interface Cell {
  text: string
  /** Only the seller's word. */
  isClaim: boolean
}

/** A claim carries a question mark. Node ids are cut to what `search show` takes. */
export function cellOf(field: Field, row: Row): Cell {
  const fact = field.read(row)
  const text = showFact(field, fact)
  if (fact.value === null || text === '') return { text: '-', isClaim: false }
  const isClaim = fact.standing === 'claim'
  const shown = field.name === 'seller' ? text.slice(0, shortIdLength) : text
  return { text: isClaim ? `${shown}?` : shown, isClaim }
}

/** Ids begin alike: 8 characters say nothing, the next 8 tell any two sellers apart. */
const shortIdLength = 16

export function showFact({ kind }: Field, { value }: Fact): string {
  if (value === null) return ''
  if (typeof value === 'object') return value.join(',')
  return isQuantity(kind) && typeof value !== 'string' ? showQuantity(kind, value) : String(value)
}

/** Numbers are compared by their last digits, words by their first letters. */
export function isRightAligned({ kind }: Field): boolean {
  return isQuantity(kind)
}

// From the first to go: what fewest choose by.
const expendable = ['cached', 'uptime', 'cpu', 'ram', 'hardware', 'quant', 'success', 'age', 'region', 'load']
const gap = 2

// A longer text is cut before a column goes for it: one seller's endless name would take them from all.
const usualText = 32

/** The columns that fit: first those without any value go, then those fewest choose by. */
export function fitColumns(
  chosen: readonly Field[],
  rows: readonly (readonly Cell[])[],
  room: number,
): { shown: number[]; hidden: Field[] } {
  const widths = chosen.map((field, at) => {
    const width = Math.max(field.title.length, ...rows.map((row) => row[at]?.text.length ?? 0))
    return isRightAligned(field) ? width : Math.min(width, usualText)
  })
  const isEmpty = (at: number) => rows.length > 0 && rows.every((row) => row[at]?.text === '-')
  const empty = chosen.flatMap((field, at) => (isEmpty(at) ? [field.name] : []))
  const shown = new Set(chosen.keys())
  const excess = () => [...shown].reduce((sum, at) => sum + widths[at]! + gap, -gap) - room
  for (const name of [...empty, ...expendable]) {
    if (excess() <= 0) break
    const at = chosen.findIndex((field) => field.name === name)
    if (at >= 0) shown.delete(at)
  }
  return { shown: [...shown], hidden: chosen.filter((_, at) => !shown.has(at)) }
}

/** One row for programs: raw values, and which of them are only claimed or were measured. */
export function jsonOf(row: Row, chosen: readonly Field[] = fields): Record<string, unknown> {
  const facts = chosen.map((field) => [field.name, field.read(row)] as const)
  const namesOf = (standing: Fact['standing']) =>
    facts.flatMap(([name, fact]) => (fact.standing === standing && fact.value !== null ? [name] : []))
  return {
    ...Object.fromEntries(facts.map(([name, { value }]) => [name, value])),
    claimed: namesOf('claim'),
    measured: namesOf('measured'),
  }
}
