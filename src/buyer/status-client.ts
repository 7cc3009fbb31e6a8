/** Asks a seller what became of requests. The question costs nothing; it closes an id the seller never saw at 0. */
import { OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient } from '../net/seller-client.ts'
import { parseJsonBody } from '../wire/chat.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import {
  encodeStatusQuery,
  mostStatusIds,
  parseStatusReply,
  signStatusQuery,
  type StatusQuery,
  type StatusReply,
} from '../wire/status.ts'
import type { Channel } from './channel.ts'

export interface StatusParts {
  digests: Digests
  curve: Curve
  authorizerKey: Hex
  now: () => number
}

const answerWithinMs = 5000
const maxReplyBytes = 4 * 1024 * 1024

/** Throws what the connection throws, `channel_not_found`, `seller_failed` or `invalid_message`. */
export async function askStatus(
  client: SellerClient,
  channel: Channel,
  ids: readonly Hex[],
  { digests, curve, authorizerKey, now }: StatusParts,
  signal: AbortSignal,
): Promise<StatusReply> {
  const query: StatusQuery = {
    channelId: channel.id,
    ids: ids.slice(0, mostStatusIds),
    askedAtSec: Math.floor(now() / 1000),
    ...proofOf(channel),
  }
  const { status, body } = await client.request({
    method: 'POST',
    path: '/openseed/v1/status',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(encodeStatusQuery(signStatusQuery(digests, curve, authorizerKey, query))),
    signal,
    firstByteTimeoutMs: answerWithinMs,
    idleTimeoutMs: answerWithinMs,
  })
  const bytes = await readBody(body, maxReplyBytes, answerWithinMs)
  if (status === 200) return parseStatusReply(parseJsonBody(bytes))
  throw new OpenSeedError(status === 404 ? 'channel_not_found' : 'seller_failed', {
    message: `${client.url} answered ${status} when asked about earlier requests.`,
  })
}

// A seller restored from an old backup learns from its own receipt and our voucher what it forgot.
function proofOf({ proof, ledger, signature }: Channel): Pick<StatusQuery, 'proof'> {
  if (proof === null || signature === null) return {}
  return { proof: { receipt: proof, voucher: { maxClaimable: ledger.signed, signature } } }
}
