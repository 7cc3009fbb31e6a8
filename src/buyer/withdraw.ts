/** Takes unspent money back without the seller: announced on the chain, finished after the channel's delay. */
import type { Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Escrow } from '../chain/escrow.ts'
import type { Intent, Outbox, TxOutcome } from '../chain/outbox.ts'
import type { Usdc } from '../wire/amount.ts'
import { checksummed } from '../wire/hex.ts'
import type { Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'

export interface WithdrawParts {
  book: ChannelBook
  escrow: Escrow
  /** Sends from the payer. */
  outbox: Outbox
  now: Clock
}

export interface WithdrawStep {
  amount: Usdc
  /** null when it had been sent before */
  transaction: string | null
  unlocksAtSec: number | null
}

/** The first step; when it was made already, what it set going. Throws `gas_insufficient`, `transaction_failed`, `chain_…`. */
export async function initiateWithdraw(channel: Channel, parts: WithdrawParts): Promise<WithdrawStep> {
  const { book, escrow, outbox, now } = parts
  await outbox.resume()
  const before = await escrow.channel(channel.id)
  const transaction = before.withdrawInitiatedAtSec > 0 ? null : await announce()
  const { withdrawAmount, withdrawInitiatedAtSec } = await escrow.channel(channel.id)
  await setState('withdrawing')
  return {
    amount: withdrawAmount,
    transaction,
    unlocksAtSec: withdrawInitiatedAtSec + channel.config.withdrawDelay,
  }

  async function announce(): Promise<string> {
    // Nothing signed from here on could be claimed in time by a seller that trusts it; what is charged, it will claim.
    const free = before.balance - before.totalClaimed
    if (free === 0n) throw nothing('The channel holds nothing that was not claimed.')
    const earlier = channel.state
    await setState('withdrawing')
    try {
      return await send(channel, parts, {
        key: `initiate-withdraw:${channel.id}:${now()}`,
        kind: 'initiateWithdraw',
        ...escrow.calls.initiateWithdraw(channel.config, free),
      })
    } catch (error) {
      // Unknown stays blocked; what certainly did not happen does not.
      if (hasCode(error, 'transaction_failed') || hasCode(error, 'gas_insufficient')) await setState(earlier)
      throw error
    }
  }

  async function setState(state: Channel['state']): Promise<void> {
    await book.fresh(channel)
    if (channel.state === state) return
    channel.state = state
    await book.save(channel)
  }
}

/** The second step. Throws `invalid_request` when it is too early or there was no first one, and what the first does. */
export async function finalizeWithdraw(channel: Channel, parts: WithdrawParts): Promise<WithdrawStep> {
  const { book, escrow, outbox, now } = parts
  await outbox.resume()
  const [pending, head] = await Promise.all([escrow.channel(channel.id), escrow.head()])
  if (pending.withdrawInitiatedAtSec === 0) throw nothing('No withdrawal of this channel is pending.')
  const unlocksAtSec = pending.withdrawInitiatedAtSec + channel.config.withdrawDelay
  const chainSec = Math.max(head.timestampSec, Math.floor(now() / 1000))
  if (chainSec < unlocksAtSec) {
    throw new OpenSeedError('invalid_request', {
      message: `The withdrawal can be finished at ${new Date(unlocksAtSec * 1000).toISOString()}.`,
      details: { unlocksAtSec },
    })
  }
  const transaction = await send(channel, parts, {
    key: `finalize-withdraw:${channel.id}:${pending.withdrawInitiatedAtSec}:${now()}`,
    kind: 'finalizeWithdraw',
    ...escrow.calls.finalizeWithdraw(channel.config),
  })
  const { balance } = await escrow.channel(channel.id)
  await book.fresh(channel)
  channel.ledger.balance = balance
  channel.refunding = 0n
  channel.state = 'closed'
  await book.save(channel)
  return { amount: pending.balance - balance, transaction, unlocksAtSec: null }
}

async function send(channel: Channel, { outbox }: WithdrawParts, intent: Intent): Promise<string> {
  const outcome = await outbox.send(intent).catch((thrown: unknown) => {
    throw hasCode(thrown, 'gas_insufficient') ? needsGas(channel, thrown) : thrown
  })
  if (outcome.status === 'confirmed') return outcome.hash
  throw failed(outcome)
}

function failed(outcome: Exclude<TxOutcome, { status: 'confirmed' }>): OpenSeedError {
  return new OpenSeedError('transaction_failed', {
    message: `The withdrawal was not executed: ${outcome.reason ?? outcome.status}.`,
    hint: 'openseed channels list',
  })
}

function needsGas({ config }: Channel, cause: OpenSeedError): OpenSeedError {
  const address = checksummed(config.payer)
  return new OpenSeedError('gas_insufficient', {
    message: `${address} has too little of the chain's native coin for the gas of this transaction.`,
    hint: `Send a little ETH to ${address} (0.001 is plenty) and run the command again.`,
    details: { address },
    cause,
  })
}

const nothing = (message: string) => new OpenSeedError('invalid_request', { message })
