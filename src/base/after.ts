const stepMs = 20

/**
 * Calls back after that many milliseconds, unless the function it gives is called before. In steps, each begun when the
 * one before has run: in a process that starves it comes late, as does whatever it was to come after.
 */
export function after(ms: number, onOver: () => void): () => void {
  let timer: NodeJS.Timeout | undefined
  const step = (leftMs: number) => {
    timer = setTimeout(() => (leftMs > stepMs ? step(leftMs - stepMs) : onOver()), stepMs)
  }
  step(ms)
  return () => clearTimeout(timer)
}
