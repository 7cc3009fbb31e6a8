/** One condition on a row. Values that nobody knows pass no condition, whatever it is. */
import { OpenSeedError } from '../base/errors.ts'
import type { Field, FieldValue } from './fields.ts'
import type { Row } from './listing.ts'
import { formatQuantity, type Quantity, type QuantityKind } from './units.ts'
import { quoteWord } from './tokens.ts'

/** `has` is what a bare word means: a part of the text, in any case. */
export type Operator = '<' | '<=' | '=' | '!=' | '>=' | '>' | 'in' | 'notin' | '~' | 'has'

export interface Filter {
  field: Field
  operator: Operator
  /** One, except for `in` and `notin`. */
  values: readonly (string | Quantity)[]
  /** Of `~` only. */
  pattern: Pattern | null
  /** As it was written, for whoever wrote it. */
  label: string
}

export interface Pattern {
  /** Throws `usage` when looking takes too long. */
  test(text: string): boolean
}

export type Outcome = 'passes' | 'fails' | 'unknown'

export const quantityOperators = ['<', '<=', '=', '!=', '>=', '>', 'in', 'notin'] as const
export const textOperators = ['=', '!=', 'in', 'notin', '~'] as const

export function isQuantity(kind: Field['kind']): kind is QuantityKind {
  return kind !== 'text' && kind !== 'list'
}

const mostTextMs = 500
const mostPatternMs = 2_000
const slowMs = 1
const fewSteps = 1e6
const mostTexts = 20_000

/**
 * What sellers write can make an expression try for years, and nothing interrupts it, not even Ctrl-C. One that could
 * runs where it can be cut off, which takes a hundred times as long as the usual one.
 */
export function bounded(pattern: RegExp): Pattern {
  const { source } = pattern
  const count = (signs: RegExp) => source.match(signs)?.length ?? 0
  const isNested = /\)[*+{]|\\[1-9k]/.test(source)
  const [repetitions, choices] = [count(/[*+{]/g), count(/[?|]/g)]
  if (!isNested && repetitions + choices === 0) return pattern
  const isCheap = ({ length }: string) => !isNested && length ** (repetitions + 1) * 2 ** choices < fewSteps
  let cutOff: ((text: string) => boolean) | null = null
  const known = new Map<string, boolean>()
  let [spentMs, endedMs] = [0, 0]

  function look(text: string): boolean {
    const [beganMs, began] = [performance.now(), process.cpuUsage()]
    // A watched search begins anew each time.
    if (beganMs - endedMs > mostTextMs) spentMs = 0
    if (spentMs > mostPatternMs) return refuseSlow(source)
    const holds = isCheap(text) ? pattern.test(text) : (cutOff ??= openCutOff(pattern))(text)
    endedMs = performance.now()
    // Of the processor's time: a busy machine makes all of them slow.
    const tookMs = endedMs - beganMs > slowMs ? process.cpuUsage(began).user / 1_000 : 0
    // Only what a text has made slow: many are looked at, and that alone is no reason to refuse.
    if (tookMs > slowMs) spentMs += tookMs
    return holds
  }

  return {
    test(text) {
      const before = known.get(text)
      if (before !== undefined) return before
      const holds = look(text)
      if (known.size >= mostTexts) known.clear()
      known.set(text, holds)
      return holds
    },
  }
}

function openCutOff(pattern: RegExp): (text: string) => boolean {
  const { createContext, Script } = process.getBuiltinModule('node:vm')
  const given = { pattern, text: '' }
  const context = createContext(given)
  const script = new Script('pattern.test(text)')
  return (text) => {
    given.text = text
    try {
      return script.runInContext(context, { timeout: mostTextMs }) as boolean
    } catch {
      return refuseSlow(pattern.source)
    }
  }
}

function refuseSlow(source: string): never {
  throw new OpenSeedError('usage', {
    message: `The expression "${source}" takes too long on what sellers have written.`,
    hint: 'Write it without a repetition inside of a repetition, or with fewer of them.',
  })
}

export function judge(filter: Filter, row: Row): Outcome {
  const { value } = filter.field.read(row)
  if (value === null) return 'unknown'
  return holds(filter, value) ? 'passes' : 'fails'
}

export function passesAll(filters: readonly Filter[], row: Row): boolean {
  return filters.every((filter) => judge(filter, row) === 'passes')
}

/** The grammar's spelling of a filter; parsing it gives the same filter again. */
export function writeFilter({ field, operator, values }: Filter): string {
  const [first = ''] = values
  if (operator === 'has') return writeHas(field, String(first))
  if (operator === '~') return `${field.name}~${quoteWord(String(first), { asPattern: true })}`
  if (operator !== 'in' && operator !== 'notin') return `${field.name}${operator}${writeValue(field, first)}`
  return `${field.name} ${operator} ${values.map((value) => writeValue(field, value)).join(',')}`
}

function writeValue({ kind }: Field, value: string | Quantity): string {
  return typeof value === 'string' ? quoteWord(value) : isQuantity(kind) ? formatQuantity(kind, value) : ''
}

function writeHas(field: Field, text: string): string {
  // A shell would take a word with a dash in front for an option; a quoted word is never a field or an operator.
  if (field.name === 'model' && !text.startsWith('-')) {
    const isPlain = /^[\w.:/@+-]+$/.test(text) && !/^(in|notin)$/i.test(text)
    return isPlain ? text : `"${text.replace(/["\\]/g, '\\$&')}"`
  }
  const literal = text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  return `${field.name}~${quoteWord(literal, { asPattern: true })}`
}

function holds({ operator, values, pattern }: Filter, value: NonNullable<FieldValue>): boolean {
  if (typeof value === 'number' || typeof value === 'bigint') return compares(operator, value, values)
  const texts = typeof value === 'string' ? [value] : value
  return matches(operator, texts, values, pattern)
}

function compares(operator: Operator, value: Quantity, values: Filter['values']): boolean {
  const [first = NaN] = values as readonly Quantity[]
  switch (operator) {
    case '<':
      return value < first
    case '<=':
      return value <= first
    case '>=':
      return value >= first
    case '>':
      return value > first
    case '=':
    case 'in':
      return values.includes(value)
    case '!=':
    case 'notin':
      return !values.includes(value)
    default:
      return false
  }
}

function matches(
  operator: Operator,
  texts: readonly string[],
  values: Filter['values'],
  pattern: Pattern | null,
): boolean {
  const wanted = values.map((value) => String(value).toLowerCase())
  const isAny = () => texts.some((text) => wanted.includes(text.toLowerCase()))
  switch (operator) {
    case '=':
    case 'in':
      return isAny()
    case '!=':
    case 'notin':
      return !isAny()
    case '~':
      return texts.some((text) => pattern?.test(text))
    case 'has':
      return texts.some((text) => text.toLowerCase().includes(wanted[0] ?? ''))
    default:
      return false
  }
}
