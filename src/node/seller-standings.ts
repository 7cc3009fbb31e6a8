/** How the sellers that were paid from this home stand: what they charged, how their counts compare, what is disputed. */
import type { Config } from '../config/config.ts'
import { openReader } from '../store/reader.ts'
import type { DriftRow } from '../store/receipt-operations.ts'
import type { Usdc } from '../wire/amount.ts'
import { checksummed, type Hex } from '../wire/hex.ts'

/** One signer of receipts. Amounts in atomic USDC. */
export interface SellerStanding {
  seller: string
  signer: string
  charged: Usdc
  disputes: { requestId: Hex; reason: string; provable: boolean; at: string; facts: unknown }[]
  /** nothing is paid to it until then */
  distrustedUntil: string | null
  drift: ModelDrift[]
}

/** Reported tokens above our own count, in percent; null where nothing was counted. */
export interface ModelDrift {
  model: string
  replies: number
  outputPercent: number | null
  inputPercent: number | null
}

/** The most disputed first. */
export function listStandings({ paths }: Config): SellerStanding[] {
  using reader = openReader(`${paths.buyer}/buyer.db`, 'buyer')
  if (reader === null) return []
  const channels = Map.groupBy(reader.read('loadChannels'), ({ config }) => config.receiverAuthorizer)
  const signerOf = new Map(
    [...channels].flatMap(([signer, rows]) => rows.map(({ id }) => [id, signer] as const)),
  )
  const disputes = Map.groupBy(reader.read('listDisputes'), ({ channelId }) => signerOf.get(channelId))
  const distrusted = new Map(reader.read('listDistrusted').map((row) => [row.signer, row]))
  const drift = Map.groupBy(reader.read('listDrift'), ({ signer }) => signer)
  const standings = [...channels].map(([signer, rows]): SellerStanding => {
    const untilMs = distrusted.get(signer)?.untilMs ?? 0
    return {
      seller: rows.at(-1)!.sellerUrl,
      signer: checksummed(signer),
      charged: rows.reduce((sum, { charged }) => sum + charged, 0n),
      disputes: (disputes.get(signer) ?? []).map(({ requestId, reason, provable, atMs, facts }) => ({
        requestId,
        reason,
        provable,
        at: new Date(atMs).toISOString(),
        facts: JSON.parse(facts) as unknown,
      })),
      distrustedUntil: untilMs > 0 ? new Date(untilMs).toISOString() : null,
      drift: (drift.get(signer) ?? []).map(driftOf),
    }
  })
  return standings.toSorted((a, b) => b.disputes.length - a.disputes.length)
}

function driftOf(row: DriftRow): ModelDrift {
  const { model, replies, reportedOutput, countedOutput, reportedInput, countedInput } = row
  return {
    model,
    replies,
    outputPercent: percentAbove(reportedOutput, countedOutput),
    inputPercent: percentAbove(reportedInput, countedInput),
  }
}

const percentAbove = (reported: number, counted: number) =>
  counted === 0 ? null : Math.round((reported / counted - 1) * 1000) / 10
