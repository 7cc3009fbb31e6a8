/** `openseed search`: everything it needs is imported at once, because each file that is loaded alone costs a moment. */
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { openSearchTools, type Found, type SearchTools } from '../node/search-tools.ts'
import { jsonOf, modelColumns, nodeColumns } from '../search/columns.ts'
import { fields, isProbed, type Field } from '../search/fields.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { parseQuery } from '../search/grammar.ts'
import type { Row } from '../search/listing.ts'
import { namedFilters, type NamedFilters } from '../search/named-filters.ts'
import { onePerSeller, parseFields, parseSort, sortRows, type SortKey } from '../search/sort.ts'
import type { Context, GlobalFlags } from './context.ts'
import type { ProbeOptions } from './search-probe.ts'
import { askedJson, remarks, searchTable } from './search-text.ts'

export interface SearchOptions extends NamedFilters, ProbeOptions {
  nodes?: boolean
  sort: string
  fields?: string
  limit: string
}

/** What was asked, parsed. */
export interface Query {
  filters: Filter[]
  sort: SortKey[]
  columns: Field[]
  nodes: boolean
  limit: number
  /** The order is the registries' own. */
  cheapestFirst: boolean
}

export interface Result {
  /** All that pass, in order. */
  rows: Row[]
  found: Found
  isProbed: boolean
}

const usualSort = 'price'
const redrawMs = 2_000

/** Throws `usage`. */
export function parseAll(
  words: readonly string[],
  given: SearchOptions,
  { json }: Pick<GlobalFlags, 'json'>,
): Query {
  if (given.watch && json)
    throw new OpenSeedError('usage', { message: '--watch has no single answer.', hint: 'Leave out --json.' })
  const nodes = given.nodes === true
  const columns = given.fields ?? (nodes ? nodeColumns : modelColumns)
  return {
    filters: [...parseQuery(words.join(' ')), ...namedFilters(given)],
    sort: parseSort(given.sort),
    columns: columns === 'all' ? [...fields] : parseFields(columns),
    nodes,
    limit: parseLimit(given.limit),
    // Several lines of one seller become one, so that many have to be read for few.
    cheapestFirst: given.sort === usualSort && !nodes,
  }
}

export async function searchOnce(
  context: Context,
  config: Config,
  query: Query,
  given: SearchOptions,
): Promise<void> {
  const { print } = context
  await using tools = openTools(context, config)
  const result = await search(context, config, tools, query, given)
  if (result.rows.length === 0) {
    const { explain } = await import('./search-empty.ts')
    return await explain(context, config, tools, query, result)
  }
  const rows = result.rows.slice(0, query.limit)
  const more = result.rows.length - rows.length
  const table = searchTable(print, rows, query.columns, roomOf(context))
  print.answer(
    {
      rows: rows.map((row) => jsonOf(row, given.fields === undefined ? fields : query.columns)),
      more,
      isPart: result.found.isPart,
      ...askedJson(result.found),
    },
    () => table.text,
  )
  for (const line of remarks({ ...result, more, table })) print.note(line)
}

export async function watchSearch(
  context: Context,
  config: Config,
  query: Query,
  given: SearchOptions,
): Promise<void> {
  const { print, io } = context
  await using tools = openTools(context, config)
  // Whoever reads the table may have seen enough of it: `| head`. The stream does not stay broken, so it is no use to look.
  const unread = new AbortController()
  io.stdout.once('error', () => unread.abort())
  const ended = AbortSignal.any([io.signal, unread.signal])
  let shown: string | null = null
  while (!ended.aborted) {
    try {
      shown = frameOf(await search(context, config, tools, query, given))
      print.frame(shown)
    } catch (error) {
      // Ctrl-C is how watching ends.
      if (io.signal.aborted) return
      // What has worked may work again; what never did is better told at once.
      if (shown === null || !(error instanceof OpenSeedError) || !error.meaning.retryable) throw error
      print.frame([shown, `${error.message} This is what was known before.`].join('\n'))
    }
    await sleep(redrawMs, undefined, { signal: ended }).catch(() => undefined)
  }

  function frameOf(result: Result): string {
    const rows = result.rows.slice(0, query.limit)
    const table = searchTable(print, rows, query.columns, roomOf(context))
    const more = result.rows.length - rows.length
    const empty = rows.length === 0 ? ['Nothing matches now.'] : []
    return [table.text, '', ...empty, ...remarks({ ...result, more, table })].join('\n')
  }
}

export function openTools({ io }: Pick<Context, 'io'>, config: Config): SearchTools {
  const { registries, buy, p2p, paths, network } = config
  return openSearchTools({
    registries,
    trustless: buy.trustless,
    bootstrap: p2p.bootstrap,
    folders: paths,
    allowPrivate: buy.allowPrivate,
    network,
    signal: io.signal,
  })
}

async function search(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  given: SearchOptions,
): Promise<Result> {
  const isWanted =
    given.probe === true || [...query.filters, ...query.sort].some(({ field }) => isProbed(field))
  const early = query.filters.filter(({ field }) => !isProbed(field))
  const found = await tools.find(early, {
    rows: query.limit,
    cheapestFirst: query.cheapestFirst && early.length === query.filters.length,
  })
  const sorted = sortRows(found.rows, query.sort)
  const passing = isWanted ? await probe(sorted) : sorted
  return { rows: query.nodes ? onePerSeller(passing) : passing, found, isProbed: isWanted }

  async function probe(rows: readonly Row[]): Promise<Row[]> {
    const { probeRows } = await import('./search-probe.ts')
    const known = await probeRows(context, config, tools, rows, given)
    return sortRows(
      known.filter((row) => passesAll(query.filters, row)),
      query.sort,
    )
  }
}

function parseLimit(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text)
  throw new OpenSeedError('usage', {
    message: `--limit is a count of lines, not "${text}".`,
    hint: 'For example --limit 50',
  })
}

function roomOf({ io }: Context): number {
  return io.stdout.isTTY ? io.stdout.columns || 80 : Infinity
}
