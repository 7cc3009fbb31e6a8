/** Measuring sellers now: a round trip for nothing, and the first token for money. */
import { asOpenSeedError, hasCode } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import type { FirstTokenTarget } from '../node/first-token.ts'
import type { SearchTools } from '../node/search-tools.ts'
import type { Probe } from '../node/seller-trip.ts'
import type { Evidence, Listing, Row } from '../search/listing.ts'
import { peerAddress } from '../wire/seller-address.ts'
import { confirm, type Context } from './context.ts'
import { isPasswordGiven, readPassword, type PasswordOptions } from './password.ts'

export interface ProbeOptions extends PasswordOptions {
  probe?: boolean
  watch?: boolean
  /** What was measured and told a moment ago need not be again. */
  mayBeOld?: boolean
}

const mostProbed = 50
const mostPaid = 3

/** The rows with what was measured, in the same order. The first 50 sellers are asked, the first 3 are paid. */
export async function probeRows(
  context: Context,
  config: Config,
  tools: SearchTools,
  rows: readonly Row[],
  given: ProbeOptions,
): Promise<Row[]> {
  const sellers = [...new Map(rows.map(({ listing }) => [listing.record.peer, listing])).values()]
  const probes = await tools.probe(sellers.slice(0, mostProbed), given)
  const evidence = new Map<string, Partial<Evidence>>(
    [...probes].flatMap(([peer, probe]) =>
      probe.outcome === 'measured' ? [[peer, { rttMs: probe.rttMs, path: probe.path }] as const] : [],
    ),
  )
  if (!given.mayBeOld) noteFailures(context, [...probes.values()], sellers.length)
  const reached = rows.filter(({ listing }) => probes.get(listing.record.peer)?.outcome === 'measured')
  if (given.probe && !given.watch) {
    for (const [peer, ttftMs] of await firstTokens(context, config, reached, given))
      evidence.set(peer, { ...evidence.get(peer), ttftMs })
  }
  const listings = new Map<Listing, Listing>()
  return rows.map(({ listing, model }) => {
    const known = listings.get(listing) ?? {
      ...listing,
      evidence: { ...listing.evidence, ...evidence.get(listing.record.peer) },
    }
    listings.set(listing, known)
    return { listing: known, model }
  })
}

function noteFailures({ print }: Context, probes: readonly Probe[], sellers: number): void {
  const count = (outcome: Probe['outcome']) => probes.filter((probe) => probe.outcome === outcome).length
  const [unreachable, refused] = [count('unreachable'), count('refused')]
  if (unreachable > 0) print.note(`${unreachable} of ${probes.length} sellers cannot be reached from here.`)
  if (refused > 0)
    print.note(`${refused} sellers are in private networks and were not asked: --allow-private`)
  if (sellers > mostProbed)
    print.note(`Of ${sellers} sellers only the first ${mostProbed} were measured: narrow the search.`)
}

/** Paid for, so only with a wallet that opens without questions and after a yes. */
async function firstTokens(
  context: Context,
  config: Config,
  reached: readonly Row[],
  given: ProbeOptions,
): Promise<Map<string, number>> {
  const { print, io } = context
  const targets = new Map<string, FirstTokenTarget>()
  for (const { listing, model } of reached) {
    const { peer, body } = listing.record
    // As a buyer names it: another name would be another channel, with a deposit of its own.
    const seller = body.addrs.length > 0 ? peerAddress(peer) : body.url
    if (seller !== null && model !== null && !targets.has(peer))
      targets.set(peer, { seller, model: model.id })
  }
  const measured = new Map<string, number>()
  if (targets.size === 0) return measured
  if (!isPasswordGiven(context, given)) {
    print.note(
      'Round trips only: the first token has to be paid, and the wallet is locked (OPENSEED_PASSWORD_FILE).',
    )
    return measured
  }
  const chosen = [...targets].slice(0, mostPaid)
  const { formatUsd } = await import('../wire/amount.ts')
  const limit = formatUsd(config.buy.maxDepositPerSeller)
  try {
    await confirm(context, `Pay ${chosen.length} sellers for a token, depositing at most ${limit} with each?`)
  } catch (error) {
    if (!hasCode(error, 'confirmation_needed')) throw error
    print.note('Round trips only: the first token has to be paid, which --yes allows.')
    return measured
  }
  const { measureFirstToken } = await import('../node/first-token.ts')
  const { silentLog } = await import('../base/log.ts')
  let password: Promise<string> | undefined
  const payIo = {
    log: silentLog,
    signal: io.signal,
    password: () => (password ??= readPassword(context, given)),
  }
  for (const [peer, target] of chosen) {
    try {
      measured.set(peer, await measureFirstToken(config, payIo, target))
    } catch (error) {
      io.signal.throwIfAborted()
      print.note(`No first token of ${target.seller}: ${asOpenSeedError(error).message}`)
    }
  }
  return measured
}
