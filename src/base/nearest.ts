/** The word of a list nearest to a mistyped one, or null when none is near. */
export function nearest(word: string, words: readonly string[]): string | null {
  let best: { word: string; distance: number } | null = null
  for (const candidate of words) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    // Of a short word nothing may be left.
    const isNear = distance <= Math.max(2, candidate.length * 0.4) && distance < candidate.length
    if (isNear && (!best || distance < best.distance)) best = { word: candidate, distance }
  }
  return best?.word ?? null
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const replaced = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[b.length]!
}
