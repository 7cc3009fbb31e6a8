/** Asks peer after peer, nearer and nearer to a key, and passes on what they say as they say it. */
import { after } from '../../base/after.ts'
import type { Contact, Shortlist } from './shortlist.ts'

export interface Told<Answer> {
  answer: Answer
  /** Peers it knows to be near. */
  named: readonly Contact[]
  /** The network it was reached in. */
  network: string | null
}

export interface Heard<Answer> {
  from: string
  answer: Answer
}

export interface WalkParts<Answer> {
  list: Shortlist
  /** How many are asked at once. */
  width: number
  /** Rejects when the peer cannot be asked, and when the signal aborts; a peer that is slow is waited for. */
  ask: (peer: Contact, signal: AbortSignal) => Promise<Told<Answer>>
  signal: AbortSignal
}

// Longer than a dial and a question around the world.
const lateMs = 700

/**
 * Yields each answer, and null when one that was asked will not give any, or is late. Ends when there is nobody left
 * to ask or to wait for, or with the signal. Who stops listening ends what is under way.
 */
export async function* walk<Answer>(parts: WalkParts<Answer>): AsyncGenerator<Heard<Answer> | null> {
  const { list, width, ask, signal } = parts
  const stop = new AbortController()
  const ended = AbortSignal.any([signal, stop.signal])
  // The list learns of each when it is read: of answers that come together, those behind are not heard yet.
  const news: (() => Heard<Answer> | null)[] = []
  let running = 0
  let wake = () => {}
  const tell = (read: () => Heard<Answer> | null) => {
    news.push(read)
    wake()
  }
  const visit = async (peer: Contact) => {
    running += 1
    const isHere = after(lateMs, () =>
      tell(() => {
        list.late(peer)
        return null
      }),
    )
    try {
      const { answer, named, network } = await ask(peer, ended)
      tell(() => {
        list.answered(peer, network, named)
        return { from: peer.id, answer }
      })
    } catch {
      tell(() => {
        list.failed(peer)
        return null
      })
    } finally {
      running -= 1
      isHere()
    }
  }
  const onEnd = () => wake()
  ended.addEventListener('abort', onEnd)
  try {
    for (;;) {
      if (ended.aborted) return
      while (list.waiting < width) {
        const peer = list.next()
        if (peer === null) break
        void visit(peer)
      }
      const read = news.shift()
      if (read !== undefined) yield read()
      else if (running === 0) return
      else await new Promise<void>((resolve) => (wake = resolve))
    }
  } finally {
    ended.removeEventListener('abort', onEnd)
    stop.abort()
  }
}
