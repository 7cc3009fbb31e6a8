/** A stock seller's 200: what goes to the client, and whether it is an answer at all. */
import { asOpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerReply } from '../net/seller-client.ts'
import type { ExchangeOutcome, ExchangeReply } from './exchange-types.ts'
import { relay } from './relay.ts'

const maxReplyBytes = 256 * 1024 * 1024

/** `junk`: whole, and nothing of it an answer. `broken`: cut off. `left`: our client did not wait for it. */
export type ReplyEnd =
  | { kind: 'answer' }
  | { kind: 'junk'; why: string }
  | { kind: 'broken'; why: string }
  | { kind: 'left' }

/** `end` books what the reply cost, once it is known how it ended; its result is the outcome. */
export async function stockReply(
  reply: SellerReply,
  end: (how: ReplyEnd) => Promise<ExchangeOutcome>,
): Promise<Pick<ExchangeReply, 'body' | 'done'>> {
  if (reply.headers['content-type']?.startsWith('text/event-stream') === true) {
    const { body, facts } = relay(reply.body)
    const done = facts.then(async ({ output, ended, failure }) => {
      if (failure !== null) return end({ kind: 'broken', why: failure.code })
      if (ended === null) return end({ kind: 'left' })
      const isAnswer = output.contentChunks + output.toolCalls > 0
      return end(isAnswer ? { kind: 'answer' } : { kind: 'junk', why: 'the stream held no answer' })
    })
    return { body, done }
  }
  try {
    const body = await readBody(reply.body, maxReplyBytes)
    return { body, done: Promise.resolve(await end(judgeBody(body))) }
  } catch (thrown) {
    const error = asOpenSeedError(thrown)
    await end(error.code === 'request_aborted' ? { kind: 'left' } : { kind: 'broken', why: error.code })
    throw error
  }
}

/** What the log says of a reply that was no answer; null for one that was. */
export const reasonOf = (how: ReplyEnd): string | null =>
  how.kind === 'junk' || how.kind === 'broken' ? how.why : null

function judgeBody(body: Buffer): ReplyEnd {
  try {
    const json: unknown = JSON.parse(body.toString())
    const isAnswer = typeof json === 'object' && json !== null && 'choices' in json
    if (isAnswer && Array.isArray(json.choices)) return { kind: 'answer' }
    return { kind: 'junk', why: 'the reply held no choices' }
  } catch {
    return { kind: 'junk', why: 'the reply was no JSON' }
  }
}
