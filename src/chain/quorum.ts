/** How many RPCs must say a thing before it counts. Pure. */

export interface QuorumAsk {
  /** How many RPCs there are. */
  configured: number
  /** How many of them answered. */
  answered: number
  /** A fixed number that the owner asks for; null for the rule. */
  wanted: number | null
}

/**
 * How many RPCs must agree. The rule: all but one of those that answered, and never one alone where there are several:
 * of two that contradict each other nobody knows which one lies. More than `answered` means that nothing counts now.
 */
export function quorumOf({ configured, answered, wanted }: QuorumAsk): number {
  return wanted ?? Math.max(answered - 1, Math.min(2, configured))
}

/**
 * The highest value that `needed` of them vouch for: fewer than `needed` liars cannot raise it, and as few as answered
 * beyond `needed` cannot lower it. Null when there are not that many.
 */
export function vouched<T extends bigint | number>(values: readonly T[], needed: number): T | null {
  return values.toSorted((a, b) => (a < b ? 1 : a > b ? -1 : 0))[Math.max(1, needed) - 1] ?? null
}
