/** `POST /openseed/v1/status`: finals of requests a buyer lost track of, and where its channel stands. */
import { OpenSeedError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { encodeStatusReply, parseStatusQuery, verifyStatusQuery } from '../wire/status.ts'
import { verifyReceipt } from '../wire/receipt.ts'
import type { ChannelBook } from './channel-book.ts'
import type { Entry } from './channel-entry.ts'
import { finalsFor } from './finals.ts'
import { adoptProof, held } from './ledger.ts'
import type { SignedStatusQuery } from '../wire/status.ts'

export interface StatusParts {
  book: ChannelBook
  digests: Digests
  curve: Curve
  now: Clock
}

const freshSec = 600

/** Throws `invalid_message`, `invalid_signature`, `channel_not_found`, `clock_skewed`, `rate_limit_exceeded`. */
export async function answerStatus(body: unknown, parts: StatusParts): Promise<Record<string, unknown>> {
  const query = parseStatusQuery(body)
  const entry = parts.book.find(query.channelId)
  if (entry === undefined) {
    throw new OpenSeedError('channel_not_found', { message: 'This seller does not know the channel (yet).' })
  }
  if (!verifyStatusQuery(parts.digests, parts.curve, query, entry.config.payerAuthorizer)) {
    throw new OpenSeedError('invalid_signature', {
      message: 'The question is not signed by the channel’s authorizer.',
    })
  }
  if (Math.abs(query.askedAtSec - parts.now() / 1000) > freshSec) {
    throw new OpenSeedError('clock_skewed', {
      message: 'The question was signed more than ten minutes ago or ahead.',
    })
  }
  await adoptPresented(entry, query, parts)
  const finals = await finalsFor(parts.book, entry, query.ids)
  const asked = new Set(query.ids)
  const open = [...entry.ledger.open].filter(([id]) => !asked.has(id))
  return encodeStatusReply({
    finals: [...finals, ...open.map(([id, row]) => ({ id, state: 'open' as const, ceiling: row.ceiling }))],
    charged: entry.ledger.charged,
    held: held(entry.ledger),
    signed: entry.ledger.signed,
    ...(entry.signature === null ? {} : { signature: entry.signature }),
  })
}

/** This seller's own newest receipt, presented by the buyer, proves what a restored backup forgot. */
async function adoptPresented(entry: Entry, { proof }: SignedStatusQuery, parts: StatusParts): Promise<void> {
  if (proof === undefined) return
  const { receipt, voucher } = proof
  const ours = verifyReceipt(parts.digests, parts.curve, receipt, entry.config.receiverAuthorizer)
  if (!ours || receipt.receipt.channelId !== entry.id) return
  const digest = parts.digests.voucher(entry.id, voucher.maxClaimable)
  if (parts.curve.recover(digest, voucher.signature) !== entry.config.payerAuthorizer) return
  await entry.reloading
  if (!adoptProof(entry.ledger, receipt.receipt.cumulative, voucher.maxClaimable)) return
  if (entry.ledger.signed === voucher.maxClaimable) entry.signature = voucher.signature
  await parts.book.save(entry)
}
