const mostNames = 5

/** The names that somebody who wrote `wanted` may have meant, the likeliest first. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const target = wanted.toLowerCase()
  const limit = Math.max(2, Math.floor(target.length / 3))
  const distanceTo = (name: string) => {
    const other = name.toLowerCase()
    // A part of the name, as in `llama3` for `llama3:8b`, is nearer than any slip of the keyboard.
    if (other.includes(target) || target.includes(other)) return 0
    // Editing distances grow with the square of the length, and the client chose it.
    return Math.abs(other.length - target.length) > limit ? Infinity : editDistance(target, other)
  }
  return names
    .map((name) => ({ name, distance: distanceTo(name) }))
    .filter(({ distance }) => distance <= limit)
    .toSorted((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, mostNames)
    .map(({ name }) => name)
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
