/** `receipts verify`: checks a file of receipts by itself, or what this home would export. */
import { readFile } from 'node:fs/promises'
import { OpenSeedError } from '../base/errors.ts'
import { formatUsd } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import { parseEvidence, type Evidence } from '../wire/evidence.ts'
import { checksummed } from '../wire/hex.ts'
import { judgeEvidence, type EvidenceVerdict, type ReceiptVerdict } from '../wire/judge-evidence.ts'
import type { Context } from './context.ts'
import { readAll } from './io.ts'
import type { Print } from './print.ts'

/** Exit codes: a seller that contradicts itself ends like a payment that was refused. */
const forgedCode = 1
const contradictsCode = 7

export async function verifyReceipts(context: Context, file: string | undefined): Promise<void> {
  const evidence = file === undefined ? await ofThisHome(context) : await readEvidence(context, file)
  const verdict = judgeEvidence(evidence, curve)
  const count = (kind: ReceiptVerdict['kind']) => verdict.receipts.filter((row) => row.kind === kind).length
  const counts = { valid: count('valid'), contradicts: count('contradicts'), forged: count('forged') }
  if (counts.forged > 0) context.exitCode = forgedCode
  else if (counts.contradicts > 0) context.exitCode = contradictsCode
  const answer = { ...counts, receipts: rowsOf(evidence, verdict), channels: channelsOf(verdict) }
  context.print.answer(answer, () => textOf(context.print, evidence, verdict, counts))
}

async function ofThisHome(context: Context): Promise<Evidence> {
  const config = await context.loadConfig()
  const { collectEvidence, everything } = await import('../node/receipts-tools.ts')
  return collectEvidence(config, everything)
}

async function readEvidence({ io }: Context, file: string): Promise<Evidence> {
  const text = file === '-' ? await readAll(io.stdin) : await readText(file)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new OpenSeedError('invalid_message', {
      message: `${file === '-' ? 'The input' : file} is not JSON.`,
      hint: 'openseed receipts export --format json > receipts.json',
    })
  }
  return parseEvidence(json)
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new OpenSeedError('invalid_request', { message: `${file} cannot be read.`, cause })
  }
}

function rowsOf({ receipts }: Evidence, verdict: EvidenceVerdict) {
  return verdict.receipts.map(({ kind, channelId, requestId, faults }, at) => {
    const { signed, request } = receipts[at]!
    const { charged, cumulative } = signed.receipt
    return { requestId, channelId, verdict: kind, faults, asked: request !== null, charged, cumulative }
  })
}

function channelsOf({ channels }: EvidenceVerdict) {
  return channels.map(({ channelId, config, receipts, charged, cumulative, missing }) => ({
    channelId,
    payer: checksummed(config.payer),
    payerAuthorizer: checksummed(config.payerAuthorizer),
    receiver: checksummed(config.receiver),
    receiverAuthorizer: checksummed(config.receiverAuthorizer),
    receipts,
    charged,
    cumulative,
    missing,
  }))
}

function textOf(
  print: Print,
  evidence: Evidence,
  verdict: EvidenceVerdict,
  counts: Record<ReceiptVerdict['kind'], number>,
): string {
  if (evidence.receipts.length === 0) return 'No receipts.'
  const receipts = print.table(
    [
      { title: 'REQUEST' },
      { title: 'CHARGED', align: 'right' },
      { title: 'CUMULATIVE', align: 'right' },
      { title: 'VERDICT', whole: true },
    ],
    rowsOf(evidence, verdict).map(({ requestId, charged, cumulative, verdict: kind, faults }) => [
      requestId.slice(0, 12),
      formatUsd(charged),
      formatUsd(cumulative),
      faults.length === 0 ? kind : `${kind}: ${faults.join(', ')}`,
    ]),
  )
  const channels = print.table(
    [
      { title: 'CHANNEL' },
      { title: 'PAID BY', whole: true },
      { title: 'SIGNED BY', whole: true },
      { title: 'RECEIPTS', align: 'right' },
      { title: 'CHARGED', align: 'right' },
      { title: 'NOT IN THE FILE', align: 'right' },
    ],
    verdict.channels.map(({ channelId, config, receipts: held, charged, missing }) => [
      channelId.slice(0, 12),
      checksummed(config.payer),
      checksummed(config.receiverAuthorizer),
      String(held),
      formatUsd(charged),
      formatUsd(missing),
    ]),
  )
  const place = `Network eip155:${evidence.chainId}, escrow ${checksummed(evidence.escrow)}.`
  return `${receipts}\n\n${channels}\n\n${place}\n${summaryOf(counts)}`
}

function summaryOf({ valid, contradicts, forged }: Record<ReceiptVerdict['kind'], number>): string {
  if (forged > 0) return `NOT GENUINE: ${forged} of the receipts are changed, incomplete or by somebody else.`
  if (contradicts > 0)
    return `GENUINE, AND THE SELLER CONTRADICTS ITSELF in ${contradicts} of ${valid + contradicts} receipts.`
  return `All ${valid} receipts are genuine, and each charge follows from its signed offer.`
}
