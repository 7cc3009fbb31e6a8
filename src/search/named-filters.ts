/** The usual conditions as options, each the same as one of the grammar. */
import { OpenSeedError } from '../base/errors.ts'
import { fieldNamed } from './fields.ts'
import type { Filter } from './filter.ts'
import { parseQuery } from './grammar.ts'
import { quoteWord } from './tokens.ts'

export interface NamedFilters {
  maxPrice?: string
  minCtx?: string
  region?: string
  gpu?: string
  direct?: boolean
}

/** Throws `usage`. */
export function namedFilters({ maxPrice, minCtx, region, gpu, direct }: NamedFilters): Filter[] {
  return [
    ...one('--max-price', maxPrice, (value) => `price<=${quoteWord(value)}`),
    ...one('--min-ctx', minCtx, (value) => `ctx>=${quoteWord(value)}`),
    ...one('--region', region, (value) => `region in ${wordList(value)}`),
    ...(gpu === undefined ? [] : [partOf('gpu', gpu, `--gpu ${gpu}`)]),
    ...(direct ? one('--direct', '', () => 'reach=direct') : []),
  ]
}

function one(flag: string, value: string | undefined, write: (value: string) => string): Filter[] {
  if (value === undefined) return []
  const label = `${flag} ${value}`.trim()
  try {
    return parseQuery(write(value)).map((filter) => ({ ...filter, label }))
  } catch (error) {
    if (!(error instanceof OpenSeedError)) throw error
    throw new OpenSeedError('usage', {
      message: `${label}: ${error.message}`,
      hint: error.hint,
      cause: error,
    })
  }
}

function partOf(name: string, text: string, label: string): Filter {
  return { field: fieldNamed(name)!, operator: 'has', values: [text], pattern: null, label }
}

function wordList(text: string): string {
  return text
    .split(',')
    .map((word) => quoteWord(word.trim()))
    .join(',')
}
