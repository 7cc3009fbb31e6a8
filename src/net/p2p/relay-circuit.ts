/** Two streams joined into one circuit: bytes pass both ways, no faster and no more of them than allowed. */
import type { Stream } from '@libp2p/interface'
import type { Throttle } from './relay-throttle.ts'

export interface CircuitOptions {
  /** Of both directions together. */
  bytes: number
  durationMs: number
  /** Counts both directions together. */
  throttle: Throttle
  onClose: () => void
}

/**
 * Must be called in the turn in which both streams were got. What one side ends is ended for the other once all of it
 * has passed; whatever else closes one of them cuts both, so that nobody takes a part for the whole.
 */
export function joinStreams(one: Stream, other: Stream, options: CircuitOptions): void {
  let left = options.bytes
  let open = 2
  const cut = (reason: string, cause?: unknown): void => {
    const error = new Error(reason, { cause })
    one.abort(error)
    other.abort(error)
  }
  const overtime = setTimeout(() => cut('the circuit was open for as long as it may'), options.durationMs)
  overtime.unref()
  const take = (bytes: number): number | null => {
    left -= bytes
    if (left < 0) cut('the circuit has carried all that it may')
    return left < 0 ? null : options.throttle.take(bytes)
  }
  const closed = (): void => {
    open -= 1
    if (open > 0) return
    clearTimeout(overtime)
    options.onClose()
  }
  pass(one, other, { take, cut, closed })
  pass(other, one, { take, cut, closed })
}

interface PassParts {
  /** Milliseconds to wait before the next bytes; null when these must not pass any more. */
  take: (bytes: number) => number | null
  cut: (reason: string, cause?: unknown) => void
  closed: () => void
}

function pass(from: Stream, to: Stream, { take, cut, closed }: PassParts): void {
  let resting: ReturnType<typeof setTimeout> | undefined
  let full = false
  let finished = false
  // Set while held bytes are let out: yamux forgets a pause that is asked for meanwhile.
  let letting = false

  const settle = (): void => {
    if (letting || from.readStatus === 'closed' || from.readStatus === 'closing') return
    if (resting !== undefined || full) return from.pause()
    letting = true
    from.resume()
    letting = false
    if (resting !== undefined || full) settle()
  }
  const rest = (waitMs: number): void => {
    clearTimeout(resting)
    resting = setTimeout(() => {
      resting = undefined
      // Meanwhile the other direction may have used up what was waited for.
      const moreMs = take(0)
      if (moreMs) rest(moreMs)
      else settle()
    }, waitMs)
    resting.unref()
  }
  from.addEventListener('message', ({ data }) => {
    const waitMs = take(data.byteLength)
    if (waitMs === null) return
    try {
      full = !to.send(data)
    } catch (error) {
      return cut('one side of the circuit has closed', error)
    }
    if (waitMs > 0) rest(waitMs)
    if (waitMs > 0 || full) settle()
  })
  to.addEventListener('drain', () => {
    // The stream sends what it kept in the microtask after this event; only then is there room, or again none.
    queueMicrotask(() => {
      if (!full || to.writableNeedsDrain) return
      full = false
      settle()
    })
  })
  from.addEventListener('remoteCloseWrite', () => {
    finished = true
  })
  // Comes when the last byte was handed over, unlike remoteCloseWrite.
  from.addEventListener('end', () => {
    if (finished) to.close().catch((error: unknown) => cut('one side of the circuit has closed', error))
  })
  const gone = (error?: Error): void => {
    if (error !== undefined || !finished) {
      clearTimeout(resting)
      cut('one side of the circuit was cut', error)
    }
    closed()
  }
  if (from.timeline.close === undefined)
    from.addEventListener('close', ({ error }) => gone(error), { once: true })
  else gone()
}
