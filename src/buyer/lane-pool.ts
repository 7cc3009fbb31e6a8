/** The lanes to each stock seller: one request at a time on each, and a few of them side by side. */
import type { Clock } from '../base/clock.ts'
import type { Escrow } from '../chain/escrow.ts'
import type { BuyerRequestRow } from '../store/rows.ts'
import { channelSalt, type ChannelConfig } from '../wire/channel.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { outcomesUnknown } from './caps.ts'
import { firstLaneIndex, type Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'
import { firstIndex, indexesOfParty } from './channel-finder.ts'

export interface LanePoolParts {
  book: ChannelBook
  escrow: Escrow
  digests: Digests
  authorizerKey: Hex
  payer: Address
  payerAuthorizer: Address
  now: Clock
}

/** Who is paid by a lane, and on which terms. */
export interface LaneParty {
  payTo: Address
  receiverAuthorizer: Address
  withdrawDelay: number
}

const mostLanes = 4
const laneWithinMs = 30_000

export class LanePool {
  readonly #parts: LanePoolParts
  readonly #busy = new Set<Hex>()
  readonly #waiting = new Set<() => void>()

  constructor(parts: LanePoolParts) {
    this.#parts = parts
  }

  /** The first lane to this party that is free; it is the caller's until `leave`. Throws `money_outcome_unknown`. */
  async take(sellerUrl: string, party: LaneParty, signal: AbortSignal): Promise<Channel> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(laneWithinMs)])
    for (;;) {
      signal.throwIfAborted()
      const lane = await this.#takeFree(sellerUrl, party)
      if (lane !== null) return lane
      if (patience.aborted) throw outcomesUnknown(sellerUrl, 10, 'all channels to it are in use')
      await this.#anyLeft(patience)
    }
  }

  leave({ id }: { id: Hex }): void {
    this.#busy.delete(id)
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  async #takeFree(sellerUrl: string, party: LaneParty): Promise<Channel | null> {
    const { digests, book } = this.#parts
    let inUse = 0
    for (let number = 0; number < indexesOfParty && inUse < mostLanes; number++) {
      const { config, index } = this.#number(party, number)
      const id = digests.channelId(config)
      inUse += 1
      if (this.#busy.has(id)) continue
      this.#busy.add(id)
      try {
        const lane = book.find(id) ?? (await this.#learn({ id, config, index, sellerUrl }))
        await book.fresh(lane)
        if (lane.state === 'open' && isCovered(lane)) return lane
      } catch (error) {
        this.leave({ id })
        throw error
      }
      this.#busy.delete(id)
      if (book.find(id)?.state === 'closed') inUse -= 1
    }
    return null
  }

  /** A lane without a row: new, or the store that knew it is lost. */
  async #learn(facts: {
    id: Hex
    config: ChannelConfig
    index: number
    sellerUrl: string
  }): Promise<Channel> {
    const { book, escrow, now } = this.#parts
    const { balance, totalClaimed, refundNonce, withdrawInitiatedAtSec } = await escrow.channel(facts.id)
    const lane = book.find(facts.id) ?? book.add(facts)
    if (balance === 0n && totalClaimed === 0n && refundNonce === 0n) return lane
    const claimed = { charged: totalClaimed, signed: totalClaimed, proven: totalClaimed }
    Object.assign(lane.ledger, { balance, ...claimed })
    if (withdrawInitiatedAtSec > 0) lane.state = 'withdrawing'
    await book.markLost(lane, Math.floor(now() / 1000))
    return lane
  }

  #number({ payTo, receiverAuthorizer, withdrawDelay }: LaneParty, number: number) {
    const { payer, payerAuthorizer, authorizerKey, escrow } = this.#parts
    const token = escrow.network.asset
    const party = { payer, payerAuthorizer, receiver: payTo, receiverAuthorizer, token, withdrawDelay }
    const index = firstLaneIndex + firstIndex(party) + number
    return { config: { ...party, salt: channelSalt(authorizerKey, index) }, index }
  }

  async #anyLeft(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
    await promise
  }
}

/** The one request of a lane whose outcome is unknown; null when there is none. */
export function lostOf({ requests }: Channel): BuyerRequestRow | null {
  for (const { row, running } of requests.values()) if (!running) return row
  return null
}

/** A lane whose unknown request its money does not cover can be neither used nor resolved: it is left alone. */
function isCovered(lane: Channel): boolean {
  const lost = lostOf(lane)
  const { ledger, deposit } = lane
  return lost === null || ledger.charged + lost.ceiling <= ledger.balance + (deposit?.amount ?? 0n)
}
