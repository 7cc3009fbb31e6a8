import { Option, type Command } from 'commander'
import { OpenSeedError } from '../base/errors.ts'
import type { ReceiptQuery, ReceiptView } from '../node/receipts-tools.ts'
import type { SellerStanding } from '../node/seller-standings.ts'
import type { Context, OpenContext } from './context.ts'
import type { Print } from './print.ts'

interface FilterOptions {
  role?: 'buyer' | 'seller'
  seller?: string
  buyer?: string
  model?: string
  since?: string
  until?: string
  limit?: string
}

const listedAtMost = 50

export function addReceipts(program: Command, open: OpenContext): void {
  const receipts = program.command('receipts').summary('what was paid for what, signed; check and export it')
  receipts.description('Receipts: signed statements of what was delivered and charged.')
  const list = receipts
    .command('list', { isDefault: true })
    .description(
      `the newest receipts and single transfers of this home; ${listedAtMost} of each without --limit`,
    )
  addFilters(list).action((given: FilterOptions) => listAll(open(), given))
  receipts
    .command('show')
    .description('one receipt with its request and its offer, or one single transfer')
    .argument('<request>', 'the request id or the nonce of a transfer, or the first digits')
    .action((id: string) => showOne(open(), id))
  receipts
    .command('verify')
    .description('check an exported file by itself, without this home or the network; exit 0, 7 or 1')
    .argument('[file]', 'made by export --format json; - reads stdin, nothing checks what this home holds')
    .action(async (file: string | undefined) => {
      const { verifyReceipts } = await import('./receipts-verify.ts')
      await verifyReceipts(open(), file)
    })
  const exported = receipts.command('export').description('receipts for others: all that they need to verify')
  addFilters(exported)
    .addOption(
      new Option('--format <format>', 'json can be verified, csv is for spreadsheets')
        .choices(['json', 'csv'])
        .default('json'),
    )
    .action((given: FilterOptions & { format: 'json' | 'csv' }) => exportAll(open(), given))
  receipts
    .command('sellers')
    .description('how the sellers you paid stand: charges, disputes, and their counts beside ours')
    .action(() => listSellers(open()))
}

function addFilters(command: Command): Command {
  return command
    .addOption(
      new Option('--role <role>', 'only what this home bought, or sold').choices(['buyer', 'seller']),
    )
    .option('--seller <seller>', 'part of its URL, or one of its addresses')
    .option('--buyer <address>', 'who paid')
    .option('--model <model>', 'the name of the model')
    .option('--since <when>', 'from then on: 2026-01-31, a full time, or 24h, 7d, 4w back')
    .option('--until <when>', 'before then')
    .option('--limit <number>', 'so many of the newest of each kind')
}

async function listAll(context: Context, given: FilterOptions): Promise<void> {
  const config = await context.loadConfig()
  const { listReceipts } = await import('../node/receipts-tools.ts')
  const { listTransfers } = await import('../node/transfer-tools.ts')
  const { transferTable } = await import('./receipts-transfers.ts')
  const query = queryOf(given)
  const most = { ...query, limit: query.limit ?? listedAtMost }
  const receipts = listReceipts(config, most)
  const transfers = await listTransfers(config, most)
  context.print.answer({ receipts, transfers }, () => {
    const text = receipts.length === 0 ? 'No receipts.' : receiptTable(context.print, receipts)
    return transfers.length === 0 ? text : `${text}\n\n${transferTable(context.print, transfers)}`
  })
}

function receiptTable(print: Print, receipts: readonly ReceiptView[]): string {
  return print.table(
    [
      { title: 'TIME' },
      { title: 'ROLE' },
      { title: 'WITH' },
      { title: 'MODEL' },
      { title: 'IN', align: 'right' },
      { title: 'CACHED', align: 'right' },
      { title: 'OUT', align: 'right' },
      { title: 'CHARGED', align: 'right' },
      { title: 'REQUEST', whole: true },
      { title: 'DISPUTED' },
    ],
    receipts.map((one) => [
      one.at.replace(/\.\d+Z$/, 'Z'),
      one.role,
      one.role === 'buyer' ? one.seller : one.buyer,
      one.model ?? '-',
      String(one.inputTokens),
      String(one.cachedTokens),
      String(one.outputTokens),
      one.chargedUsd,
      one.requestId.slice(0, 12),
      one.disputed ?? '-',
    ]),
  )
}

async function showOne(context: Context, id: string): Promise<void> {
  const config = await context.loadConfig()
  const { findTransfer } = await import('../node/transfer-tools.ts')
  const { hasReceipt, showReceipt } = await import('../node/receipts-tools.ts')
  const transfer = hasReceipt(config, id) ? null : await findTransfer(config, id)
  if (transfer !== null) {
    const { transferText } = await import('./receipts-transfers.ts')
    return context.print.answer({ transfer }, () => transferText(context.print, transfer))
  }
  const { judgeEvidence } = await import('../wire/judge-evidence.ts')
  const { encodeEvidence } = await import('../wire/evidence.ts')
  const { curve } = await import('../wire/curve.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const { offer, evidence, ...view } = showReceipt(config, id)
  const [verdict] = judgeEvidence(evidence, curve).receipts
  const { kind = 'forged', faults = [] } = verdict ?? {}
  const answer = { ...view, verdict: kind, faults, evidence: encodeEvidence(evidence) }
  context.print.answer(answer, () =>
    context.print.table(
      [{ title: 'REQUEST' }, { title: view.requestId, whole: true }],
      [
        ['verdict', faults.length === 0 ? kind : `${kind}: ${faults.join(', ')}`],
        ['disputed', view.disputed ?? '-'],
        ['time', view.at],
        ['seller', view.seller],
        ['buyer', view.buyer],
        ['model', view.model ?? '-'],
        ['engine', offer?.details.engine ?? '-'],
        ['quantization', offer?.details.quantization ?? '-'],
        ['template hash', offer?.details.templateHash ?? '-'],
        ['tokens', `${view.inputTokens} in (${view.cachedTokens} cached), ${view.outputTokens} out`],
        ['price of 1M', offer === null ? '-' : pricesOf(offer.offer, formatUsd)],
        ['charged', `${view.chargedUsd} of at most ${formatUsd(view.ceiling)}`],
        ['cumulative', formatUsd(view.cumulative)],
        ['channel', view.channelId],
        ['offer', view.offerHash],
        ['body hash', view.bodyHash],
        ['response hash', view.responseHash],
      ],
    ),
  )
}

function pricesOf(
  offer: { priceIn: bigint; priceCached: bigint; priceOut: bigint; fixedPrice: bigint },
  formatUsd: (amount: bigint) => string,
): string {
  const { priceIn, priceCached, priceOut, fixedPrice } = offer
  const fixed = fixedPrice === 0n ? '' : `, and ${formatUsd(fixedPrice)} each`
  return `${formatUsd(priceIn)} in, ${formatUsd(priceCached)} cached, ${formatUsd(priceOut)} out${fixed}`
}

async function exportAll(context: Context, given: FilterOptions & { format: 'json' | 'csv' }): Promise<void> {
  const config = await context.loadConfig()
  const { collectEvidence, listReceipts } = await import('../node/receipts-tools.ts')
  const { listTransfers } = await import('../node/transfer-tools.ts')
  const query = queryOf(given)
  if (given.format === 'csv') {
    const { receiptsCsv } = await import('./receipts-csv.ts')
    const transfers = (await listTransfers(config, query)).toReversed()
    const csv = receiptsCsv(listReceipts(config, query).toReversed(), transfers)
    context.print.answer({ csv }, () => csv)
    return
  }
  const { encodeEvidence } = await import('../wire/evidence.ts')
  const transfers = (await listTransfers(config, query)).toReversed()
  const evidence = { ...encodeEvidence(collectEvidence(config, query)), transfers }
  context.print.answer(evidence, () => JSON.stringify(evidence, withAmounts, 2))
}

const withAmounts = (_key: string, part: unknown) => (typeof part === 'bigint' ? part.toString() : part)

async function listSellers(context: Context): Promise<void> {
  const config = await context.loadConfig()
  const { listStandings } = await import('../node/seller-standings.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const sellers = listStandings(config)
  const rowsOf = ({ seller, charged, disputes, distrustedUntil, drift }: SellerStanding) => {
    const standing = [seller, formatUsd(charged), String(disputes.length), distrustedUntil ?? '-']
    return drift.length === 0
      ? [[...standing, '-', '-', '-', '-']]
      : drift.map((one) => [
          ...standing,
          one.model,
          String(one.replies),
          percent(one.outputPercent),
          percent(one.inputPercent),
        ])
  }
  context.print.answer({ sellers }, () =>
    sellers.length === 0
      ? 'No seller was paid yet.'
      : context.print.table(
          [
            { title: 'SELLER' },
            { title: 'CHARGED', align: 'right' },
            { title: 'DISPUTES', align: 'right' },
            { title: 'UNPAID UNTIL' },
            { title: 'COUNTED MODEL' },
            { title: 'REPLIES', align: 'right' },
            { title: 'OUT', align: 'right' },
            { title: 'IN', align: 'right' },
          ],
          sellers.flatMap(rowsOf),
        ),
  )
}

const percent = (value: number | null) => (value === null ? '-' : `${value > 0 ? '+' : ''}${value}%`)

function queryOf(given: FilterOptions): ReceiptQuery {
  const { role, seller, buyer, model, since, until, limit } = given
  return {
    role: role ?? null,
    seller: seller ?? null,
    buyer: buyer ?? null,
    model: model ?? null,
    sinceMs: since === undefined ? null : parseWhen(since, '--since'),
    untilMs: until === undefined ? null : parseWhen(until, '--until'),
    limit: limit === undefined ? null : parseLimit(limit),
  }
}

const unitMs = { h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 } as const

function parseWhen(text: string, flag: string): number {
  const [, count, unit] = /^(\d{1,6})([hdw])$/.exec(text) ?? []
  if (count !== undefined) return Date.now() - Number(count) * unitMs[unit as keyof typeof unitMs]
  const atMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(atMs)) return atMs
  throw new OpenSeedError('usage', {
    message: `${flag} does not understand "${text}".`,
    hint: `${flag} 2026-01-31, ${flag} 2026-01-31T12:00Z or ${flag} 24h`,
  })
}

function parseLimit(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new OpenSeedError('usage', { message: '--limit must be a number from 1 up.', hint: '--limit 100' })
}
