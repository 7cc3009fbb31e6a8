/** Canonical JSON of a flat object: keys in code-unit order, no spaces, values as `JSON.stringify` writes them. */
export function canonicalJson(flat: Readonly<Record<string, string | number | boolean>>): string {
  const members = Object.keys(flat)
    .toSorted()
    .map((key) => `${JSON.stringify(key)}:${JSON.stringify(flat[key])}`)
  return `{${members.join(',')}}`
}
