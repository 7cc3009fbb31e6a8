/** Plain replies kept for a while in memory, so that a repeated request gets its answer again without being charged. */
import type { ServerResponse } from 'node:http'
import { OpenSeedError } from '../base/errors.ts'
import { encodeReceiptExtension, openseedExtension } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import { encodeSignedReceipt, type SignedReceipt } from '../wire/receipt.ts'
import { encodeHeader, paymentResponseHeader } from '../wire/x402.ts'
import type { ClosedRequest } from './channel-entry.ts'

const mostBytes = 32 * 1024 * 1024

export class ReplyCache {
  readonly #replies = new Map<Hex, Buffer>()
  #bytes = 0

  keep({ receipt }: SignedReceipt, body: Buffer): void {
    if (body.length > mostBytes / 8) return
    this.#replies.set(keyOf(receipt), body)
    this.#bytes += body.length
    for (const [key, oldest] of this.#replies) {
      if (this.#bytes <= mostBytes) break
      this.#replies.delete(key)
      this.#bytes -= oldest.length
    }
  }

  /** The reply that a receipt is for, while it is kept. */
  find({ receipt }: SignedReceipt): Buffer | undefined {
    return this.#replies.get(keyOf(receipt))
  }

  /** Answers a repeated request. Throws `request_conflict` with the receipt when the reply is not kept (any more). */
  repeat({ receipt, streamed }: ClosedRequest, response: ServerResponse, caip2: string): void {
    const body = streamed ? undefined : this.#replies.get(keyOf(receipt.receipt))
    if (body === undefined) {
      throw new OpenSeedError('request_conflict', {
        message: 'This request was answered already; its reply is not kept.',
        details: { receipt: encodeSignedReceipt(receipt) },
      })
    }
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': body.length,
      [paymentResponseHeader]: encodeHeader({
        success: true,
        transaction: '',
        network: caip2,
        amount: '',
        extra: { chargedAmount: '0' },
        extensions: { [openseedExtension]: encodeReceiptExtension({ receipt, finals: [] }) },
      }),
    })
    response.end(body)
  }
}

const keyOf = ({ channelId, requestId }: SignedReceipt['receipt']): Hex =>
  `0x${channelId.slice(2)}${requestId.slice(2)}`
