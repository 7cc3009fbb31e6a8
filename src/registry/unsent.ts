/** Answers that their clients have not taken yet. Bounded: who asks and never reads would fill the memory with them. */
import type { ServerResponse } from 'node:http'

const mostOfCaller = 8 * 1024 * 1024
const mostInAll = 128 * 1024 * 1024

export class Unsent {
  readonly #bytes = new Map<string, number>()
  #total = 0

  /** True when a caller has to read before it may ask again; one that owes nothing is always served. */
  isFull(caller: string): boolean {
    const bytes = this.#bytes.get(caller) ?? 0
    return bytes > mostOfCaller || (bytes > 0 && this.#total > mostInAll)
  }

  /** Counts an answer of so many bytes until it is sent or its connection ends. Call it before the answer is written. */
  add(caller: string, bytes: number, response: ServerResponse): void {
    const { socket } = response.req
    if (response.destroyed || socket.destroyed) return
    this.#count(caller, bytes)
    let isSent = false
    const sent = () => {
      if (isSent) return
      isSent = true
      socket.off('close', sent)
      this.#count(caller, -bytes)
    }
    response.on('close', sent)
    // An answer that waits behind another one hears nothing of the end of its connection.
    socket.on('close', sent)
  }

  #count(caller: string, bytes: number): void {
    const left = (this.#bytes.get(caller) ?? 0) + bytes
    this.#total += bytes
    if (left === 0) this.#bytes.delete(caller)
    else this.#bytes.set(caller, left)
  }
}
