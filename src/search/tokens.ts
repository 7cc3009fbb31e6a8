import { refuseQuery, type Span } from './query-error.ts'

export const comparisons = ['<=', '>=', '!=', '==', '<', '>', '=', '~'] as const

export type TokenKind = 'word' | 'quoted' | 'comparison' | 'comma' | 'bracket'

export interface Token extends Span {
  kind: TokenKind
  /** Of a quoted word what is between the quotes. */
  text: string
}

const space = /\s/
const special = /[\s<>=!~,"'[\]()]/

/** Cuts a query into words and signs. Throws `usage`. */
export function readTokens(query: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < query.length) {
    if (space.test(query[at]!)) {
      at += 1
      continue
    }
    // What follows ~ is a regular expression: every sign belongs to it, until the next space.
    const isPattern = tokens.at(-1)?.text === '~' && tokens.at(-1)?.kind === 'comparison'
    const token = readToken(query, at, isPattern ? space : special)
    tokens.push(token)
    at = token.end
  }
  return tokens
}

function readToken(query: string, at: number, ends: RegExp): Token {
  const sign = query[at]!
  if (sign === '"' || sign === "'") return readQuoted(query, at)
  if (ends === special) {
    const comparison = comparisons.find((text) => query.startsWith(text, at))
    if (comparison) return { kind: 'comparison', text: comparison, at, end: at + comparison.length }
    if (sign === ',') return { kind: 'comma', text: sign, at, end: at + 1 }
    if (sign === '!')
      refuseQuery(query, { at, end: at + 1 }, 'A lone "!" means nothing here.', 'Not equal is !=.')
    if (special.test(sign)) return { kind: 'bracket', text: sign, at, end: at + 1 }
  }
  let end = at + 1
  while (end < query.length && !ends.test(query[end]!)) end += 1
  return { kind: 'word', text: query.slice(at, end), at, end }
}

function readQuoted(query: string, at: number): Token {
  const quote = query[at]
  let text = ''
  for (let end = at + 1; end < query.length; end += 1) {
    const sign = query[end]!
    if (sign === quote) return { kind: 'quoted', text, at, end: end + 1 }
    if (sign === '\\' && quote === '"' && /["\\]/.test(query[end + 1] ?? '')) end += 1
    text += query[end]
  }
  return refuseQuery(query, { at, end: query.length }, 'A quote is not closed.', `Close it with ${quote}`)
}

/** The text as one word of a query, quoted where it has to be. */
export function quoteWord(text: string, { asPattern = false } = {}): string {
  const isPlain = asPattern ? !/^["']|\s/.test(text) : !special.test(text)
  return isPlain && text !== '' ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
}
