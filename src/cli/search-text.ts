/** What `openseed search` says: tables, why there are none, and everything about one seller. */
import type { Found, Shown } from '../node/search-tools.ts'
import { cellOf, fitColumns, isRightAligned, showFact } from '../search/columns.ts'
import { searchCommand } from '../search/command-line.ts'
import type { Explanation } from '../search/explain-empty.ts'
import { fields, type Field } from '../search/fields.ts'
import { rowsOf, type Row } from '../search/listing.ts'
import { asksOfState } from '../search/push-down.ts'
import { parseQuery } from '../search/grammar.ts'
import type { Print } from './print.ts'

export interface TableOf {
  text: string
  /** Columns for which there was no room. */
  hidden: string[]
  hasClaims: boolean
}

export function searchTable(
  print: Print,
  rows: readonly Row[],
  chosen: readonly Field[],
  room: number,
): TableOf {
  const cells = rows.map((row) => chosen.map((field) => cellOf(field, row)))
  const { shown, hidden } = fitColumns(chosen, cells, room)
  const columns = shown.map((at) => {
    const field = chosen[at]!
    return {
      title: field.title,
      ...(isRightAligned(field) && { align: 'right' as const }),
      ...(field.name === 'seller' && { whole: true as const }),
    }
  })
  const table = cells.map((row) => shown.map((at) => ({ text: row[at]!.text, dim: row[at]!.isClaim })))
  return {
    text: print.table(columns, table),
    hidden: hidden.map(({ name }) => name),
    hasClaims: table.flat().some(({ dim }) => dim),
  }
}

/** Lines below a table, for people. */
export function remarks({ found, more, table }: { found: Found; more: number; table: TableOf }): string[] {
  return [
    ...(more > 0 ? [`${more} more: --limit ${found.rows.length}`] : []),
    ...(found.isPart ? ['There are more sellers than were read.'] : []),
    ...(table.hidden.length > 0 ? [`No room for ${table.hidden.join(', ')}: choose with --fields`] : []),
    ...(table.hasClaims ? ['? is only what the seller says of itself.'] : []),
    ...registryRemarks(found),
  ]
}

export function registryRemarks({ registries }: Pick<Found, 'registries'>): string[] {
  return registries.flatMap(({ url, error, refused }) => [
    ...(error ? [error.message] : []),
    ...(refused > 0
      ? [`The registry ${url} listed ${refused} records that are not valid; they are left out.`]
      : []),
  ])
}

/** The command that finds something. A state that nobody asked for is silently live again unless it is named. */
export function nearestCommand({ nearest }: Explanation, { nodes }: { nodes: boolean }): string | null {
  if (nearest === null) return null
  const filters = asksOfState(nearest.filters)
    ? nearest.filters.filter(({ label }) => label !== 'state=live')
    : [...nearest.filters, ...parseQuery('state in live,stale')]
  return searchCommand(filters, { nodes })
}

export function emptyText(print: Print, explanation: Explanation, command: string | null): string {
  if (explanation.total === 0) return 'No registry knows any seller yet. Be the first: openseed sell'
  const { total, removals, nearest } = explanation
  const table = print.table(
    [
      { title: 'FILTER' },
      { title: 'REMOVES', align: 'right' },
      { title: 'LEAVES', align: 'right' },
      { title: 'NOT KNOWN', align: 'right' },
    ],
    removals.map(({ filter, removes, leaves, unknown }) => [
      filter.label,
      String(removes),
      String(leaves),
      unknown > 0 ? String(unknown) : '-',
    ]),
  )
  const next = command === null ? [] : ['', `nearest, finds ${nearest?.finds ?? 0}: ${print.strong(command)}`]
  return [`Nothing matches, of ${total} offers.`, '', table, ...next].join('\n')
}

export function emptyJson({ total, removals, nearest }: Explanation, command: string | null) {
  return {
    total,
    filters: removals.map(({ filter, ...counts }) => ({ filter: filter.label, ...counts })),
    nearest: nearest && { command, finds: nearest.finds },
  }
}

const ofModels = ['model', 'quant', 'ctx', 'maxout', 'in', 'cached', 'out', 'warm', 'caps']

export function sellerText(print: Print, shown: Shown): string {
  const { listing, binding, listedBy } = shown
  const rows = rowsOf(listing)
  const [first] = rows
  const facts = fields
    .filter(({ name }) => !ofModels.includes(name) && name !== 'price')
    .map((field) => ({ field, fact: field.read(first!) }))
    .filter(({ fact }) => fact.value !== null)
  const { record, heartbeat } = listing
  const models = rows.some(({ model }) => model !== null)
    ? searchTable(
        print,
        rows,
        fields.filter(({ name }) => ofModels.includes(name)),
        Infinity,
      ).text
    : `The catalogue is at ${record.body.catalog?.url ?? '-'}`
  return [
    print.table(
      [{ title: 'FACT' }, { title: 'VALUE', whole: true }, { title: 'KNOWN' }],
      [
        ...facts.map(({ field, fact }) => [field.name, showFact(field, fact), standings[fact.standing]]),
        ['authorizer', record.body.authorizer, standings.term],
        ['addresses', record.body.addrs.join(' ') || '-', standings.claim],
        [
          'record',
          `signed ${timeText(record.seq)}, ends ${timeText(record.expSec * 1000)}`,
          'signature valid',
        ],
        heartbeat === null
          ? ['heartbeat', 'none that is still valid', '-']
          : ['heartbeat', `signed ${timeText(heartbeat.seq)}`, 'signature valid'],
        ['wallet', `says so until ${timeText(listing.binding.notAfterSec * 1000)}`, bindings[binding]],
        ['listed by', listedBy.join(' '), '-'],
      ],
    ),
    '',
    models,
  ].join('\n')
}

export function sellerJson({ listing, binding, listedBy }: Shown) {
  const { record, heartbeat } = listing
  return {
    seller: record.peer,
    state: listing.state,
    signatures: { record: 'valid', heartbeat: heartbeat && 'valid', binding },
    record: { seq: record.seq, exp: record.expSec, ...record.body },
    heartbeat: heartbeat && { seq: heartbeat.seq, exp: heartbeat.expSec, ...heartbeat.body },
    lastSeenMs: listing.lastSeenMs,
    measured: { ...listing.measured, ...listing.evidence },
    listedBy,
  }
}

const standings = { term: 'signed', claim: 'claimed', measured: 'measured' } as const
const bindings: Readonly<Record<Shown['binding'], string>> = {
  valid: 'signature valid',
  unchecked: 'not checked: the chain cannot be reached',
  not_covering: 'FOR ANOTHER NODE OR NETWORK',
  forged: 'SIGNATURE NOT VALID',
  expired: 'EXPIRED',
  future: 'NOT VALID YET',
  too_long_lived: 'VALID FOR TOO LONG',
}

function timeText(atMs: number): string {
  return new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z')
}
