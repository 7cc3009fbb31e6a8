/**
 * What people type: words that a model's name must contain, and conditions `field operator value`, all of which must
 * hold. `llama ctx>=32k out<$0.30 region in eu,us gpu~4090`
 */
import { fieldNamed, fields, nearestField, type Field } from './fields.ts'
import {
  bounded,
  isQuantity,
  quantityOperators,
  textOperators,
  type Filter,
  type Operator,
  type Pattern,
} from './filter.ts'
import { refuseQuery, type Span } from './query-error.ts'
import { readTokens, type Token } from './tokens.ts'
import { examples, parseQuantity } from './units.ts'

/** More conditions than anybody types; with those of options they are a bit each in explain-empty. */
export const mostFilters = 24
const mostCharacters = 4_000

/** Throws `usage` with a pointer at the part that is wrong. */
export function parseQuery(query: string): Filter[] {
  if (query.length > mostCharacters)
    refuseQuery(query, { at: mostCharacters, end: query.length }, 'The query is too long.', 'Shorten it.')
  const reader = new Reader(query)
  const filters: Filter[] = []
  while (!reader.done) filters.push(readTerm(reader))
  if (filters.length > mostFilters)
    refuseQuery(
      query,
      { at: 0, end: query.length },
      `More than ${mostFilters} conditions.`,
      'Leave some out.',
    )
  return filters
}

class Reader {
  readonly query: string
  readonly #tokens: readonly Token[]
  #next = 0

  constructor(query: string) {
    this.query = query
    this.#tokens = readTokens(query)
  }

  get done(): boolean {
    return this.#next >= this.#tokens.length
  }

  peek(ahead = 0): Token | undefined {
    return this.#tokens[this.#next + ahead]
  }

  take(): Token | undefined {
    const token = this.peek()
    this.#next += 1
    return token
  }

  /** From this token to the last one that was taken. */
  textFrom({ at }: Token): string {
    return this.query.slice(at, this.#tokens[this.#next - 1]?.end)
  }

  refuse(span: Span, message: string, hint: string): never {
    return refuseQuery(this.query, span, message, hint)
  }
}

function readTerm(reader: Reader): Filter {
  const first = reader.take()!
  const second = reader.peek()
  if (first.kind !== 'word' && first.kind !== 'quoted') return refuseStray(reader, first)
  if (first.kind === 'word' && second?.kind === 'comparison') return readComparison(reader, first)
  if (first.kind === 'word' && isListOperator(second) && reader.peek(1)?.kind !== 'comparison')
    return readList(reader, first)
  return {
    field: fieldNamed('model')!,
    operator: 'has',
    values: [first.text],
    pattern: null,
    label: reader.textFrom(first),
  }
}

function readComparison(reader: Reader, name: Token): Filter {
  const field = findField(reader, name)
  const sign = reader.take()!
  const operator = (sign.text === '==' ? '=' : sign.text) as Operator
  checkOperator(reader, field, operator, sign)
  const token = takeValue(reader, field, sign)
  const filter = { field, operator, label: reader.textFrom(name) }
  if (operator === '~') return { ...filter, values: [token.text], pattern: readPattern(reader, token) }
  return { ...filter, values: [readValue(reader, field, token)], pattern: null }
}

function readList(reader: Reader, name: Token): Filter {
  const field = findField(reader, name)
  const word = reader.take()!
  const operator = word.text.toLowerCase() as Operator
  const open = reader.peek()?.kind === 'bracket' ? reader.take() : undefined
  if (open && open.text !== '[' && open.text !== '(') refuseStray(reader, open)
  const values = [readValue(reader, field, takeValue(reader, field, word))]
  while (reader.peek()?.kind === 'comma') {
    const comma = reader.take()!
    values.push(readValue(reader, field, takeValue(reader, field, comma)))
  }
  if (open) closeList(reader, open)
  return { field, operator, values, pattern: null, label: reader.textFrom(name) }
}

function closeList(reader: Reader, open: Token): void {
  const wanted = open.text === '[' ? ']' : ')'
  const close = reader.take()
  if (close?.text === wanted && close.kind === 'bracket') return
  reader.refuse(
    close ?? open,
    `The list that begins with "${open.text}" does not end.`,
    `End it with ${wanted}`,
  )
}

function findField(reader: Reader, token: Token): Field {
  const field = fieldNamed(token.text)
  if (field) return field
  const meant = nearestField(token.text)
  const names = fields.map(({ name }) => name).join(', ')
  return reader.refuse(
    token,
    `"${token.text}" is no field.`,
    meant ? `Did you mean ${meant}?` : `Fields are ${names}.`,
  )
}

function checkOperator(reader: Reader, { name, kind }: Field, operator: Operator, sign: Token): void {
  const known: readonly Operator[] = isQuantity(kind) ? quantityOperators : textOperators
  if (known.includes(operator)) return
  const what = isQuantity(kind) ? 'a number' : 'text'
  reader.refuse(sign, `${name} is ${what}: ${operator} cannot be asked of it.`, `It takes ${known.join(' ')}`)
}

function takeValue(reader: Reader, { name }: Field, after: Token): Token {
  const token = reader.take()
  if (token?.kind === 'word' || token?.kind === 'quoted') return token
  return reader.refuse(
    token ?? after,
    token ? `"${token.text}" stands where a value must be.` : `${name} ${after.text} lacks its value.`,
    `For example ${name}${exampleOf(name)}`,
  )
}

function readValue(reader: Reader, field: Field, token: Token): Filter['values'][number] {
  const { name, kind, choices } = field
  if (isQuantity(kind)) {
    const value = parseQuantity(kind, token.text)
    return (
      value ??
      reader.refuse(token, `"${token.text}" is no value of ${name}.`, `Write it like ${examples[kind]}`)
    )
  }
  if (choices && !choices.includes(token.text.toLowerCase()))
    reader.refuse(token, `${name} is never "${token.text}".`, `It is ${choices.join(' or ')}.`)
  return token.text
}

function readPattern(reader: Reader, token: Token): Pattern {
  try {
    return bounded(new RegExp(token.text, 'iu'))
  } catch {
    return reader.refuse(
      token,
      `"${token.text}" is no regular expression.`,
      'A backslash makes a sign plain: \\+',
    )
  }
}

function refuseStray(reader: Reader, token: Token): never {
  const hints: Partial<Record<Token['kind'], string>> = {
    comma: 'Several values are written: region in eu,us',
    comparison: 'A condition begins with its field: out<$0.30',
  }
  const hint = hints[token.kind] ?? 'Put a name with such signs in quotes.'
  return reader.refuse(token, `"${token.text}" is not expected here.`, hint)
}

function isListOperator(token: Token | undefined): boolean {
  return token?.kind === 'word' && /^(in|notin)$/i.test(token.text)
}

function exampleOf(name: string): string {
  const kind = fieldNamed(name)?.kind ?? 'text'
  return isQuantity(kind) ? `>=${examples[kind].split(/[ ,]/)[0]}` : '=something'
}
