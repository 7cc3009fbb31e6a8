/** What `openseed search` says: tables, and what there is to know about them. */
import type { Asked } from '../node/search-sources.ts'
import type { Found } from '../node/search-tools.ts'
import { cellOf, fitColumns, isRightAligned } from '../search/columns.ts'
import type { Field } from '../search/fields.ts'
import type { Row } from '../search/listing.ts'
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
      // The first digits of a price are another price.
      ...(isRightAligned(field) && { align: 'right' as const, whole: true as const }),
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
    ...(found.isPart ? ['There are more sellers than were read: narrow the search, or raise --limit.'] : []),
    ...(table.hidden.length > 0 ? [`No room for ${table.hidden.join(', ')}: choose with --fields`] : []),
    ...(table.hasClaims ? ['? is only what the seller says of itself.'] : []),
    ...catalogueRemarks(found),
    ...askedRemarks(found),
  ]
}

export function askedRemarks({ source, registries, servers }: Asked): string[] {
  return [
    ...registries.flatMap(({ url, error, refused }) => [
      ...(error ? [error.message] : []),
      ...(refused > 0
        ? [`The registry ${url} listed ${refused} records that are not valid; they are left out.`]
        : []),
    ]),
    ...(source === 'dht'
      ? [`Found in the DHT, of which ${servers} servers were met: load and success are not known there.`]
      : []),
  ]
}

export function askedJson({ source, registries, servers }: Asked) {
  return {
    source,
    registries: registries.map(({ url, sellers, refused, error }) => ({
      url,
      sellers,
      refused,
      error: error?.code ?? null,
    })),
    ...(source === 'dht' && { dht: { servers } }),
  }
}

function catalogueRemarks({ failures, unread }: Pick<Found, 'failures' | 'unread'>): string[] {
  const [first] = failures
  return [
    ...(first ? [`${failures.length} catalogues were not read. ${first.error.message}`] : []),
    ...(unread > 0 ? [`${unread} more catalogues were not asked for: narrow the search.`] : []),
  ]
}
