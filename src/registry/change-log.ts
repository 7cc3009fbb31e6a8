/** Who changed, in order: what lets a reader ask only for what is new. */
import type { PeerId } from '../wire/peer-id.ts'

interface Change {
  version: number
  peer: PeerId
}

export class ChangeLog {
  readonly #most: number
  readonly #latest = new Map<PeerId, number>()
  #changes: Change[] = []
  /** Changes up to here are forgotten. */
  #forgotten = 0
  #version = 0

  /** Remembers the last change of at most `most` peers. */
  constructor(most: number) {
    this.#most = most
  }

  get version(): number {
    return this.#version
  }

  /** Notes a change and gives its version. */
  touch(peer: PeerId): number {
    this.#version += 1
    this.#latest.set(peer, this.#version)
    this.#changes.push({ version: this.#version, peer })
    if (this.#changes.length > 2 * Math.min(this.#latest.size, this.#most) + 1_024) this.#compact()
    return this.#version
  }

  /** True when every change since this version is still known. */
  knows(since: number): boolean {
    return since >= this.#forgotten && since <= this.#version
  }

  /** The version of a peer's last change; 0 when it is forgotten. */
  versionOf(peer: PeerId): number {
    return this.#latest.get(peer) ?? 0
  }

  /** Peers that changed after this version, in the order of their last change. */
  *after(since: number): Generator<PeerId> {
    for (let at = this.#firstAfter(since); at < this.#changes.length; at += 1) {
      const { version, peer } = this.#changes[at]!
      if (this.#latest.get(peer) === version) yield peer
    }
  }

  #firstAfter(since: number): number {
    let low = 0
    let high = this.#changes.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#changes[middle]!.version > since) high = middle
      else low = middle + 1
    }
    return low
  }

  #compact(): void {
    const last = this.#changes.filter(({ version, peer }) => this.#latest.get(peer) === version)
    const dropped = last.splice(0, Math.max(0, last.length - this.#most))
    for (const { peer, version } of dropped) {
      this.#latest.delete(peer)
      this.#forgotten = version
    }
    this.#changes = last
  }
}
