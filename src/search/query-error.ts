import { OpenSeedError } from '../base/errors.ts'

/** A part of what was typed. Offsets in UTF-16 units, `end` excluded. */
export interface Span {
  at: number
  end: number
}

const roomAround = 60

/** Throws `usage`; `details.pointer` shows the query with the bad part underlined. */
export function refuseQuery(query: string, { at, end }: Span, message: string, hint: string): never {
  throw new OpenSeedError('usage', {
    message,
    hint,
    details: { query, at, length: end - at, pointer: pointTo(query, at, end) },
  })
}

function pointTo(query: string, at: number, end: number): string {
  const from = Math.max(0, at - roomAround)
  const shown = query.slice(from, Math.min(query.length, end + roomAround)).replace(/\p{Cc}/gu, ' ')
  return `${shown}\n${' '.repeat(at - from)}${'^'.repeat(Math.max(1, Math.min(end - at, shown.length)))}`
}
