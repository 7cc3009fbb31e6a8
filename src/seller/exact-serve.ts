/**
 * The end of the pipeline for exact payments. Plain: work, then settle, then answer. Streamed: settle at the first
 * token, and only then send. What the chain refused is not delivered, what was not delivered is not asked for.
 */
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { encodeReceiptExtension, openseedExtension } from '../wire/extension.ts'
import { exactErrors } from '../wire/exact.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import { errorEvent, errorReply } from '../wire/openai-error.ts'
import { parseSignedReceipt, type SignedReceipt } from '../wire/receipt.ts'
import { encodeHeader, paymentResponseHeader, type SettlementResponse } from '../wire/x402.ts'
import type { EngineReply } from './backend.ts'
import type { ExactOrder, ExactOutcome } from './exact-desk.ts'
import type { ExactAdmitted, ExactRepeated } from './exact-gate.ts'
import type { PaidCall } from './gate.ts'
import { readPlain, send } from './plain.ts'
import { closeAtNothing, delivered, type ServeParts } from './serve-parts.ts'
import { endStream, openStreamMeter, pump, streamHeaders, streamWriter } from './stream-parts.ts'

/** Throws what becomes an error reply; then nothing was sent yet and nothing taken. */
export async function serveExact(
  call: PaidCall,
  serving: ExactAdmitted,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  if (call.chat.stream) return streamExact(call, serving, engine, response, parts, signal)
  const { body, usage } = await readPlain(call, serving, engine, parts, signal)
  const { exact, replies } = parts
  const receipt = exact.sign(serving.order, delivered(keccak256(body), usage))
  const outcome = await settleOnce(serving, receipt, parts)
  const isOwed = serving.paidBy !== null
  if (outcome.kind !== 'refused' && !isOwed) replies.keep(receipt, body)
  if (outcome.kind !== 'settled') return sendUnsettled(outcome, serving.order, response, parts)
  // The row says that it is paid until the last byte is out: a crash before is a debt that can be seen.
  response.once('finish', () => {
    const noted = exact.served(serving.order, receipt, 'complete')
    // An answer that was owed has another receipt than the one that was lost: the row has to have it first.
    noted
      .then(() => isOwed && replies.keep(receipt, body))
      .catch((error: unknown) => {
        parts.log.error({ error }, 'a paid answer was served and could not be noted')
      })
  })
  send(response, 200, settledHeader(serving.order, outcome.txHash, receipt, parts), body)
  crashPoint('seller.answered')
}

async function streamExact(
  call: PaidCall,
  serving: ExactAdmitted,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const { order } = serving
  const meter = await openStreamMeter(call, serving, engine, parts)
  const { write, hash } = streamWriter(response, parts.readerTimeoutMs, signal)
  let settlement: ExactOutcome | null = null
  let broken: unknown = null
  try {
    await pump(engine, meter, write, {
      mayBegin: () => meter.done || meter.leastUsage().outputTokens > 0,
      async begin() {
        // The engine goes on meanwhile: what it says waits in the connection to it.
        settlement = await settleOnce(serving, null, parts)
        if (settlement.kind !== 'settled') throw unpaid
        // Who left meanwhile has got nothing: its answer stays owed.
        signal.throwIfAborted()
        response.writeHead(200, {
          ...streamHeaders(serving),
          ...settledHeader(order, settlement.txHash, null, parts),
          ...(call.wantsTrailers ? { trailer: paymentResponseHeader } : {}),
        })
      },
    })
  } catch (error) {
    broken = error
  }
  engine.body.destroy()
  const settled = settlement as ExactOutcome | null
  if (settled === null) {
    await closeAtNothing(serving, parts)
    throw asOpenSeedError(signal.aborted ? signal.reason : (broken ?? meter.failure))
  }
  if (settled.kind !== 'settled') return sendUnsettled(settled, order, response, parts)
  if (!response.headersSent) throw asOpenSeedError(broken ?? signal.reason)
  if (broken !== null && !signal.aborted) await write(Buffer.from(errorEvent(asOpenSeedError(broken))))
  const receipt = parts.exact.sign(order, delivered(hash.digest(), meter.usage()))
  const how = signal.aborted ? 'client_left' : meter.done ? 'complete' : 'engine_broke'
  await parts.exact.served(order, receipt, how)
  if (signal.aborted) return
  const { [paymentResponseHeader]: header = null } = settledHeader(order, settled.txHash, receipt, parts)
  endStream(call, response, meter, header)
  crashPoint('seller.answered')
}

async function settleOnce(
  { order, paidBy }: ExactAdmitted,
  receipt: SignedReceipt | null,
  { exact }: ServeParts,
): Promise<ExactOutcome> {
  return paidBy === null ? exact.settle(order, receipt) : { kind: 'settled', txHash: paidBy }
}

const unpaid = new OpenSeedError('payment_refused', { message: 'The payment could not be settled.' })

/** The money is ours already; the reply is sent again while it is kept. Throws `request_conflict` when it is not. */
export function repeatExact({ row }: ExactRepeated, response: ServerResponse, parts: ServeParts): void {
  const receipt = row.receipt === null ? null : parseSignedReceipt(JSON.parse(row.receipt))
  const body = receipt === null || row.streamed ? undefined : parts.replies.find(receipt)
  if (receipt === null || body === undefined || row.txHash === null) {
    throw new OpenSeedError('request_conflict', {
      message: `This request was paid already (${row.txHash}); its reply is not kept.`,
      details: row.receipt === null ? {} : { receipt: JSON.parse(row.receipt) },
    })
  }
  const { payer, nonce, amount } = row
  const order = { payload: { authorization: { from: payer } }, amount }
  if (row.state === 'settled') {
    response.once('finish', () => {
      void parts.exact.servedAgain({ payer, nonce }).catch((error: unknown) => {
        parts.log.error({ error }, 'a paid answer was served and could not be noted')
      })
    })
  }
  send(response, 200, settledHeader(order, row.txHash, receipt, parts), body)
}

type Payer = Pick<ExactOrder, 'amount'> & { payload: { authorization: { from: Hex } } }

function settledHeader(
  { payload, amount }: Payer,
  txHash: Hex,
  receipt: SignedReceipt | null,
  { seller }: ServeParts,
): Record<string, string> {
  return {
    [paymentResponseHeader]: encodeHeader({
      success: true,
      transaction: txHash,
      network: seller.network.caip2,
      payer: checksummed(payload.authorization.from),
      amount: amount.toString(),
      ...(receipt === null
        ? {}
        : { extensions: { [openseedExtension]: encodeReceiptExtension({ receipt, finals: [] }) } }),
    }),
  }
}

/** The work is done and not paid: nothing of it leaves. */
function sendUnsettled(
  outcome: Exclude<ExactOutcome, { kind: 'settled' }>,
  { payload }: ExactOrder,
  response: ServerResponse,
  { seller }: ServeParts,
): void {
  const isPending = outcome.kind === 'pending'
  const reason = isPending ? exactErrors.settlementPending : outcome.reason
  const failed: SettlementResponse = {
    success: false,
    transaction: (isPending ? outcome.txHash : null) ?? '',
    network: seller.network.caip2,
    payer: checksummed(payload.authorization.from),
    errorReason: reason,
  }
  const { body } = errorReply(
    new OpenSeedError(isPending ? 'money_outcome_unknown' : 'payment_refused', {
      message: `Payment: ${reason}.`,
    }),
  )
  const headers = { [paymentResponseHeader]: encodeHeader(failed), 'cache-control': 'no-store' }
  send(response, isPending ? 502 : 402, headers, Buffer.from(JSON.stringify(body)))
}
