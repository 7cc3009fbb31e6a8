/** `openseed search show`: everything that is known of one seller, who says so, and what of it is signed. */
import type { Config } from '../config/config.ts'
import type { Shown } from '../node/search-tools.ts'
import { showFact } from '../search/columns.ts'
import { fields, isOfModel } from '../search/fields.ts'
import { rowsOf, type Observation, type OwnRequests } from '../search/listing.ts'
import { showQuantity } from '../search/units.ts'
import type { Context } from './context.ts'
import type { Print } from './print.ts'
import { probeRows } from './search-probe.ts'
import { openTools, type SearchOptions } from './search-run.ts'
import { askedJson, askedRemarks, searchTable } from './search-text.ts'

export async function showSeller(
  context: Context,
  config: Config,
  seller: string,
  given: SearchOptions,
): Promise<void> {
  const { print } = context
  await using tools = openTools(context, config)
  const shown = await tools.show(seller)
  if (given.probe) {
    const [row] = await probeRows(context, config, tools, rowsOf(shown.listing), given)
    if (row) shown.listing = row.listing
  }
  print.answer(sellerJson(shown), () => sellerText(print, shown))
  for (const { error } of shown.failures) print.note(error.message)
  for (const line of askedRemarks(shown)) print.note(line)
}

function sellerText(print: Print, { listing, binding, source }: Shown): string {
  const rows = rowsOf(listing)
  const [first] = rows
  const facts = fields
    .filter((field) => !isOfModel(field))
    .map((field) => ({ field, fact: field.read(first!) }))
    .filter(({ fact }) => fact.value !== null)
  const { record, heartbeat, observations } = listing
  const listedBy = source === 'dht' ? 'the DHT' : observations.map(({ by }) => by).join(' ')
  return [
    print.table(
      [{ title: 'FACT' }, { title: 'VALUE', whole: true }, { title: 'KNOWN' }],
      [
        ...facts.map(({ field, fact }) => [field.name, showFact(field, fact), standings[fact.standing]]),
        ...(listing.evidence.path === null ? [] : [['path', listing.evidence.path, standings.measured]]),
        ['authorizer', record.body.authorizer, standings.term],
        ...(record.body.addrs.length === 0 ? ['-'] : record.body.addrs).map((addr, at) => [
          at === 0 ? 'addresses' : '',
          addr,
          standings.claim,
        ]),
        [
          'record',
          `signed ${timeText(record.seq)}, ends ${timeText(record.expSec * 1000)}`,
          'signature valid',
        ],
        heartbeat === null
          ? ['heartbeat', 'none that is still valid', '-']
          : ['heartbeat', `signed ${timeText(heartbeat.seq)}`, 'signature valid'],
        [
          'wallet',
          listing.binding === null
            ? 'says nothing'
            : `says so until ${timeText(listing.binding.notAfterSec * 1000)}`,
          bindings[binding],
        ],
        ['listed by', listedBy, '-'],
      ],
    ),
    ...(observations.length === 0 && listing.evidence.own === null
      ? []
      : ['', observationsText(print, observations, listing.evidence.own)]),
    '',
    modelsText(print, rows),
  ].join('\n')
}

/** One line for each registry, the range of what they say where they differ, and what this home saw itself. */
function observationsText(
  print: Print,
  observations: readonly Observation[],
  own: OwnRequests | null,
): string {
  const columns = [
    { title: 'SEEN BY', whole: true as const },
    ...['UPTIME', 'OK', 'RTT FROM THERE', 'OVER', 'ASKED', 'KNOWN SINCE'].map((title) => ({ title })),
  ]
  const share = (value: number | undefined) => (value === undefined ? '-' : showQuantity('share', value))
  const rows = observations.map(({ by, measured }) => [
    by,
    share(measured.uptime),
    share(measured.success),
    measured.rttMs === undefined ? '-' : showQuantity('duration', measured.rttMs),
    measured.via ?? '-',
    measured.atMs === undefined ? '-' : timeText(measured.atMs),
    timeText(measured.sinceMs),
  ])
  const range = (read: (observation: Observation) => number | undefined) => {
    const values = observations.flatMap((observation) => read(observation) ?? [])
    const [least, most] = [Math.min(...values), Math.max(...values)]
    return values.length === 0 || least === most ? share(values[0]) : `${share(least)} to ${share(most)}`
  }
  const all = [
    'all',
    range(({ measured }) => measured.uptime),
    range(({ measured }) => measured.success),
    '',
    '',
    '',
    '',
  ]
  const you =
    own === null
      ? []
      : [[`you, in ${own.asked} requests`, '-', share(own.answered / own.asked), '', '', '', '']]
  return print.table(columns, [...rows, ...(observations.length > 1 ? [all] : []), ...you])
}

function modelsText(print: Print, rows: ReturnType<typeof rowsOf>): string {
  if (rows.some(({ model }) => model !== null))
    return searchTable(
      print,
      rows,
      fields.filter((field) => isOfModel(field) && field.name !== 'price'),
      Infinity,
    ).text
  return `The catalogue is at ${rows[0]?.listing.record.body.catalog?.url ?? '-'}`
}

function sellerJson(shown: Shown) {
  const { listing, binding } = shown
  const { record, heartbeat, observations } = listing
  return {
    seller: record.peer,
    state: listing.state,
    reach: listing.reach,
    signatures: { record: 'valid', heartbeat: heartbeat && 'valid', binding },
    record: { seq: record.seq, exp: record.expSec, ...record.body, models: listing.models },
    heartbeat: heartbeat && { seq: heartbeat.seq, exp: heartbeat.expSec, ...heartbeat.body },
    lastSeenMs: listing.lastSeenMs,
    measured: listing.evidence,
    observed: observations.map(({ by, measured }) => ({ ...measured, by })),
    listedBy: observations.map(({ by }) => by),
    ...askedJson(shown),
  }
}

const standings = { term: 'signed', claim: 'claimed', measured: 'measured' } as const
const bindings: Readonly<Record<Shown['binding'], string>> = {
  valid: 'signature valid',
  missing: 'NOT FOUND',
  unchecked: 'not checked: the chain cannot be reached',
  not_covering: 'FOR ANOTHER NODE OR NETWORK',
  forged: 'SIGNATURE NOT VALID',
  expired: 'EXPIRED',
  future: 'NOT VALID YET',
  too_long_lived: 'VALID FOR TOO LONG',
}

/** Whatever number stands in a message: dates end in the year 275760. */
function timeText(atMs: number): string {
  const date = new Date(atMs)
  return Number.isNaN(date.getTime()) ? 'never' : date.toISOString().replace(/\.\d+Z$/, 'Z')
}
