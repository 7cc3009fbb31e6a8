/** What of a query a registry can do itself. Its answer may hold more than was asked for, never less. */
import type { Usdc } from '../wire/amount.ts'
import { judge, type Filter } from './filter.ts'
import type { Row } from './listing.ts'

/** Prices in atomic USDC per 1,000,000 tokens, bounds included. */
export interface PushedDown {
  maxPrice?: Usdc
  maxIn?: Usdc
  maxOut?: Usdc
  minContext?: number
  stale?: boolean
}

export function pushDown(filters: readonly Filter[]): PushedDown {
  const upper = (name: string) => bounds(filters, name, ['<', '<=', '=']).toSorted(compare)[0]
  const maxPrice = upper('price')
  const maxIn = upper('in')
  const maxOut = upper('out')
  const minContext = bounds(filters, 'ctx', ['>', '>=', '=']).toSorted(compare).at(-1)
  return {
    ...(typeof maxPrice === 'bigint' && { maxPrice }),
    ...(typeof maxIn === 'bigint' && { maxIn }),
    ...(typeof maxOut === 'bigint' && { maxOut }),
    ...(typeof minContext === 'number' && { minContext }),
    ...(asksOfState(filters) && { stale: true }),
  }
}

/** Silent sellers are left out, unless a query speaks of them. */
export function asksOfState(filters: readonly Filter[]): boolean {
  return filters.some(({ field }) => field.name === 'state' || field.name === 'age')
}

/** The names that pass what is asked of the model's name; null when nothing is asked of it. */
export function modelsAskedFor(filters: readonly Filter[], names: readonly string[]): string[] | null {
  const asked = filters.filter(({ field }) => field.name === 'model')
  if (asked.length === 0) return null
  return names.filter((name) => asked.every((filter) => judge(filter, rowNamed(name)) === 'passes'))
}

const mostNames = 4

/** Words of a query that may be the whole name of a model, for who can look up whole names only. */
export function modelNamesIn(filters: readonly Filter[]): string[] {
  const words = filters.flatMap(({ field, operator, values }) =>
    field.name === 'model' && ['has', '=', 'in'].includes(operator) ? values.map(String) : [],
  )
  return [...new Set(words)].slice(0, mostNames)
}

// Only its model is looked at.
function rowNamed(id: string): Row {
  return { model: { id } } as Row
}

function bounds(filters: readonly Filter[], name: string, operators: readonly string[]) {
  return filters.flatMap(({ field, operator, values }) =>
    field.name === name && operators.includes(operator) ? (values as (number | bigint)[]) : [],
  )
}

function compare(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : Number(a > b)
}
