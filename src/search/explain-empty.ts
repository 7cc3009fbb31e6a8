/** Why nothing was found: what each filter takes away, and the smallest change of the query that finds something. */
import { nearest } from '../base/nearest.ts'
import type { FieldValue } from './fields.ts'
import { isQuantity, judge, passesAll, type Filter } from './filter.ts'
import type { Row } from './listing.ts'
import type { Quantity } from './units.ts'

export interface Removal {
  filter: Filter
  /** Rows that this filter alone takes away. */
  removes: number
  /** Of these, rows where nobody knows the value. */
  unknown: number
  /** Rows left by this filter and those before it. */
  leaves: number
}

export interface Explanation {
  /** Rows before any filter. */
  total: number
  removals: Removal[]
  /** Null when there are no rows at all. */
  nearest: { filters: Filter[]; finds: number } | null
}

/** For at most 31 filters that no row passes. */
export function explainEmpty(rows: readonly Row[], filters: readonly Filter[]): Explanation {
  return { total: rows.length, removals: countRemovals(rows, filters), nearest: findNearest(rows, filters) }
}

function countRemovals(rows: readonly Row[], filters: readonly Filter[]): Removal[] {
  let left = rows
  return filters.map((filter) => {
    const outcomes = rows.map((row) => judge(filter, row))
    left = left.filter((row) => judge(filter, row) === 'passes')
    return {
      filter,
      removes: outcomes.filter((outcome) => outcome !== 'passes').length,
      unknown: outcomes.filter((outcome) => outcome === 'unknown').length,
      leaves: left.length,
    }
  })
}

// Rows that fail the same filters are one candidate: these filters give way for all of them.
function findNearest(rows: readonly Row[], filters: readonly Filter[]): Explanation['nearest'] {
  const groups = new Map<number, Row[]>()
  for (const row of rows) {
    const mask = filters.reduce(
      (bits, filter, at) => bits | (Number(judge(filter, row) !== 'passes') << at),
      0,
    )
    const group = groups.get(mask)
    if (group) group.push(row)
    else groups.set(mask, [row])
  }
  let best: { filters: Filter[]; cost: number; finds: number } | null = null
  for (const [mask, group] of groups) {
    const candidate = giveWay(filters, mask, group)
    const finds = rows.filter((row) => passesAll(candidate.filters, row)).length
    if (!best || candidate.cost < best.cost || (candidate.cost === best.cost && finds > best.finds))
      best = { ...candidate, finds }
  }
  return best && { filters: best.filters, finds: best.finds }
}

function giveWay(filters: readonly Filter[], mask: number, group: readonly Row[]) {
  let cost = 0
  let within = group
  const kept: Filter[] = []
  for (const [at, filter] of filters.entries()) {
    if ((mask & (1 << at)) === 0) {
      kept.push(filter)
      continue
    }
    const relaxed = relax(filter, within)
    cost += costOf(filter, relaxed)
    if (relaxed === null) continue
    kept.push(relaxed)
    within = within.filter((row) => judge(relaxed, row) === 'passes')
  }
  return { filters: kept, cost }
}

// Another price is a smaller change than any region; another model is another question.
function costOf({ field }: Filter, relaxed: Filter | null): number {
  if (relaxed !== null) return 1
  return field.name === 'model' ? 4 : 2
}

/** The nearest filter of the kind that takes some of these rows; null when only leaving it out does. */
function relax(filter: Filter, rows: readonly Row[]): Filter | null {
  const { field, operator, values } = filter
  const known = rows.map((row) => field.read(row).value).filter((value) => value !== null)
  const change = (operator: Filter['operator'], value: string | Quantity): Filter => ({
    ...filter,
    operator,
    values: [value],
    pattern: null,
  })
  if (known.length === 0 || operator === '!=' || operator === 'notin') return null
  if (!isQuantity(field.kind)) {
    const name = field.choices || operator === '~' ? null : likeliest(filter, known)
    return name === null ? null : change('=', name)
  }
  const quantities = known as Quantity[]
  if (operator === '<' || operator === '<=')
    return change(
      '<=',
      quantities.reduce((a, b) => (b < a ? b : a)),
    )
  if (operator === '>' || operator === '>=')
    return change(
      '>=',
      quantities.reduce((a, b) => (b > a ? b : a)),
    )
  const target = Number(values[0])
  const distance = (value: Quantity) => Math.abs(Number(value) - target)
  return change(
    '=',
    quantities.reduce((a, b) => (distance(b) < distance(a) ? b : a)),
  )
}

/** What was probably meant: a name that contains what was written, or a model's nearest one. */
function likeliest({ field, values }: Filter, known: readonly FieldValue[]): string | null {
  const wanted = values.map((value) => String(value).toLowerCase()).filter((word) => word !== '')
  const names = known.flatMap((value) => (typeof value === 'string' ? [value] : []))
  const containing = names.find((name) => wanted.some((word) => name.toLowerCase().includes(word)))
  // Among short words like regions every one is near to every other.
  return containing ?? (field.name === 'model' ? nearest(wanted[0] ?? '', names) : null)
}
