/** The only place that writes to the terminal: answers to stdout, everything else to stderr. */
import { styleText } from 'node:util'
import type { OpenSeedError } from '../base/errors.ts'
import type { Env } from '../config/env.ts'
import type { Io } from './io.ts'

export interface Column {
  title: string
  align?: 'right'
  /** Never cut: a shortened address is worse than a broken line. */
  whole?: true
}

/** Dim: less certain than what stands beside it. */
export type TableCell = string | { text: string; dim: boolean }

export interface Print {
  /** The command's one answer: a JSON value under --json, text otherwise. */
  answer(value: unknown, text: () => string): void
  /** Progress and advice; nothing under --json or --quiet. */
  note(text: string): void
  error(error: OpenSeedError): void
  /** Columns as wide as their content; cut to the terminal's width when there is a terminal. */
  table(columns: readonly Column[], rows: readonly (readonly TableCell[])[]): string
  /** An answer that is given again and again: on a terminal each takes the place of the one before. */
  frame(text: string): void
  strong(text: string): string
}

export interface PrintMode {
  json: boolean
  quiet: boolean
  color: boolean
  debug: boolean
}

export function openPrint(io: Io, mode: PrintMode, terminal: Env['terminal']): Print {
  let answered = false
  const colorOn = (stream: Io['stdout']) =>
    mode.color && (terminal.forceColor || (stream.isTTY === true && !terminal.noColor && !terminal.dumb))
  const paint = (stream: Io['stdout'], style: Parameters<typeof styleText>[0], text: string) =>
    colorOn(stream) ? styleText(style, text, { validateStream: false }) : text

  const print: Print = {
    answer(value, text) {
      answered = true
      io.stdout.write(mode.json ? `${toJson(value)}\n` : endLine(text()))
    },
    note(text) {
      if (!mode.json && !mode.quiet) io.stderr.write(endLine(text))
    },
    error(error) {
      // A long-running command has given its one value when it became ready; what ends it later goes to stderr.
      if (mode.json) (answered ? io.stderr : io.stdout).write(`${toJson(errorBody(error))}\n`)
      else io.stderr.write(errorText(error, mode.debug, (text) => paint(io.stderr, ['bold', 'red'], text)))
    },
    table(columns, rows) {
      const room = io.stdout.isTTY ? io.stdout.columns || 80 : Infinity
      const lines = layOut(columns, rows, room, (text) => paint(io.stdout, 'dim', text))
      const [head = '', ...body] = lines
      return [paint(io.stdout, 'bold', head), ...body].join('\n')
    },
    frame(text) {
      const clear = io.stdout.isTTY && !terminal.dumb ? '\u001b[H\u001b[J' : ''
      io.stdout.write(clear + endLine(text))
    },
    strong: (text) => paint(io.stdout, 'bold', text),
  }
  return print
}

/** One line of JSON; amounts are decimal strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part))
}

function errorBody({ code, message, hint, details }: OpenSeedError) {
  return { error: { code, message, ...(hint ? { hint } : {}), ...(details ? { details } : {}) } }
}

function errorText(error: OpenSeedError, debug: boolean, red: (text: string) => string): string {
  const lines = [`${red('error')} ${error.message}`]
  const pointer = error.details?.['pointer']
  if (typeof pointer === 'string') lines.push(...pointer.split('\n').map((line) => `    ${line}`))
  if (error.hint) lines.push(`  fix  ${error.hint}`)
  lines.push(`  code ${error.code}`)
  if (debug) {
    for (let at: unknown = error; at instanceof Error; at = at.cause) lines.push(at.stack ?? String(at))
  } else if (error.code === 'internal_error')
    lines.push('  Run it again with --debug for the details to report.')
  return endLine(lines.join('\n'))
}

function layOut(
  columns: readonly Column[],
  rows: readonly (readonly TableCell[])[],
  room: number,
  dim: (text: string) => string,
): string[] {
  const table: (readonly TableCell[])[] = [columns.map(({ title }) => title), ...rows]
  const widths = columns.map((_, index) => Math.max(...table.map((row) => widthOf(textOf(row[index])))))
  const gaps = 2 * (columns.length - 1)
  const total = widths.reduce((sum, width) => sum + width, gaps)
  // One by one, so that of two wide columns neither pays for the other.
  for (let excess = total - room; excess > 0; excess -= 1) {
    const widest = widestOf(columns, widths)
    if (widest < 0 || widths[widest]! <= leastWidth) break
    widths[widest]! -= 1
  }
  return table.map((row) =>
    columns
      .map(({ align }, index) => {
        const cell = row[index]
        const text = shorten(cell, widths[index]!)
        const pad = ' '.repeat(Math.max(0, widths[index]! - widthOf(text)))
        const shown = typeof cell === 'object' && cell.dim ? dim(text) : text
        return align === 'right' ? pad + shown : shown + pad
      })
      .join('  ')
      .trimEnd(),
  )
}

const leastWidth = 8

function textOf(cell: TableCell | undefined): string {
  return typeof cell === 'object' ? cell.text : (cell ?? '')
}

function widestOf(columns: readonly Column[], widths: readonly number[]): number {
  const candidates = widths.map((width, index) => (columns[index]?.whole ? -1 : width))
  const widest = Math.max(...candidates)
  return widest < 0 ? -1 : candidates.indexOf(widest)
}

function shorten(cell: TableCell | undefined, width: number): string {
  const text = textOf(cell)
  if (widthOf(text) <= width) return text
  // What is only claimed must not look certain for being cut.
  const end = typeof cell === 'object' && cell.dim && text.endsWith('?') ? '…?' : '…'
  let kept = ''
  let room = width - end.length
  for (const sign of text) {
    room -= widthOf(sign)
    if (room < 0) break
    kept += sign
  }
  return kept + end
}

const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3001-\u303f\uff01-\uff60\uffe0-\uffe6\p{Emoji_Presentation}]/u
const narrow = /^[\uff61-\uff9f]$/
const unseen = /^[\p{Mn}\p{Me}\p{Cf}]$/u

/** Columns of a terminal, of which some signs take two and some none. */
function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length
  let width = 0
  for (const sign of text) {
    if (!unseen.test(sign)) width += wide.test(sign) && !narrow.test(sign) ? 2 : 1
  }
  return width
}

function endLine(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}
