/** What other commands may ask of a running buyer, and how they name a channel. */
import { OpenSeedError } from '../base/errors.ts'
import type { Channel } from '../buyer/channel.ts'
import type { ChannelBook } from '../buyer/channel-book.ts'
import type { Refunded } from '../buyer/refund.ts'
import type { WithdrawStep } from '../buyer/withdraw.ts'
import { parseAmount, type Usdc } from '../wire/amount.ts'
import { expectObject, expectText, expectTimeSec, present } from '../wire/fields.ts'
import type { ControlRoutes } from './control.ts'

/** The moves of money that people ask for. A channel is named by its id or the first digits of it. */
export interface BuyerMoney {
  refund: (id: string, amount?: Usdc) => Promise<Refunded>
  withdraw: (id: string, step: { finalize: boolean }) => Promise<WithdrawStep>
}

export function buyerControl({ refund, withdraw }: BuyerMoney, book: ChannelBook): ControlRoutes {
  return {
    running: async () =>
      Object.fromEntries(book.all().map((channel) => [channel.id, runningOf(channel).toString()])),
    refund: async ({ id, amount }) => {
      const wanted = present(amount)
      const refunded = await refund(
        expectText(id, 'id'),
        wanted === undefined ? undefined : parseAmount(wanted, 'amount'),
      )
      return { ...refunded, amount: refunded.amount.toString() }
    },
    withdraw: async ({ id, finalize }) => {
      const step = await withdraw(expectText(id, 'id'), { finalize: finalize === true })
      return { ...step, amount: step.amount.toString() }
    },
  }
}

/** Ceilings of requests that run, of those whose outcome is not yet known. */
function runningOf({ requests }: Channel): Usdc {
  let sum = 0n
  for (const { row, running } of requests.values()) if (running) sum += row.ceiling
  return sum
}

/** What runs on each channel as `buyerControl` answered it. */
export function parseRunning(input: unknown): ReadonlyMap<string, Usdc> {
  const entries = Object.entries(expectObject(input, 'running'))
  return new Map(entries.map(([id, amount]) => [id, parseAmount(amount, id)]))
}

/** The refund as `buyerControl` answered it. */
export function parseRefunded(input: unknown): Refunded {
  const { amount, transaction } = expectObject(input, 'refund')
  return { amount: parseAmount(amount, 'amount'), transaction: String(transaction) }
}

/** The step as `buyerControl` answered it. */
export function parseWithdrawStep(input: unknown): WithdrawStep {
  const { amount, transaction, unlocksAtSec } = expectObject(input, 'withdrawal')
  const unlocks = present(unlocksAtSec)
  return {
    amount: parseAmount(amount, 'amount'),
    transaction: typeof transaction === 'string' ? transaction : null,
    unlocksAtSec: unlocks === undefined ? null : expectTimeSec(unlocks, 'unlocksAtSec'),
  }
}

/** By an id or the first digits of one. Throws `channel_not_found`. */
export function findChannel(book: ChannelBook, id: string): Channel {
  return onlyOne(
    book.all().filter((channel) => matches(channel.id, id)),
    id,
  )
}

export function matches(id: string, given: string): boolean {
  const digits = given.toLowerCase().replace(/^0x/, '')
  return digits.length > 0 && id.slice(2).startsWith(digits)
}

/** The one thing that was meant. Throws `channel_not_found`. */
export function onlyOne<T>(found: readonly T[], id: string): T {
  const [first, ...others] = found
  if (first !== undefined && others.length === 0) return first
  throw new OpenSeedError('channel_not_found', {
    message:
      first === undefined ? `There is no channel ${id} here.` : `${found.length} channels begin with ${id}.`,
    hint: 'openseed channels list',
  })
}
