import { writeFilter, type Filter } from './filter.ts'

/** A command that a shell takes apart into the same filters. */
export function searchCommand(filters: readonly Filter[], { nodes = false, trustless = false } = {}): string {
  const flags = [...(nodes ? ['--nodes'] : []), ...(trustless ? ['--trustless'] : [])]
  const words = ['openseed', 'search', ...flags, ...filters.map(writeFilter)]
  return words.map(quoteForShell).join(' ')
}

function quoteForShell(word: string): string {
  return /^[\w@%+:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
