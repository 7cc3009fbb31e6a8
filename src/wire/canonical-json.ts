import { refuseMessage } from './fields.ts'

/** What JSON can say. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

const mostDepth = 16

/**
 * Canonical JSON (RFC 8785): keys in code-unit order, no spaces, values as `JSON.stringify` writes them. Throws
 * `invalid_message` for what JSON cannot say (undefined, an infinite number) and for nesting deeper than 16.
 */
export function canonicalJson(value: JsonValue): string {
  return write(value, mostDepth)
}

// Values come from outside: what the type promises is checked, and depth is bounded before the stack is.
function write(value: JsonValue | undefined, depthLeft: number): string {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return JSON.stringify(value)
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value)
  if (typeof value !== 'object' || depthLeft === 0) return refuseMessage('A signed document', 'plain JSON')
  if (Array.isArray(value)) {
    const list: readonly JsonValue[] = value
    // Array.from: a hole must be refused, and `map` would skip it.
    return `[${Array.from(list, (entry) => write(entry, depthLeft - 1)).join(',')}]`
  }
  const members = value as { readonly [name: string]: JsonValue }
  const written = Object.keys(members)
    .toSorted()
    .map((name) => `${JSON.stringify(name)}:${write(members[name], depthLeft - 1)}`)
  return `{${written.join(',')}}`
}
