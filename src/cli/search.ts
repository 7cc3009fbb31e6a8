import type { Command } from 'commander'
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import type { Found, SearchTools } from '../node/search-tools.ts'
import { fields, type Field } from '../search/fields.ts'
import type { Filter } from '../search/filter.ts'
import type { Row } from '../search/listing.ts'
import type { NamedFilters } from '../search/named-filters.ts'
import type { SortKey } from '../search/sort.ts'
import type { Context, OpenContext } from './context.ts'
import type { ProbeOptions } from './search-probe.ts'
import {
  addSettingOptions,
  flagValuesOf,
  registryOption,
  rpcOption,
  type SettingOption,
} from './setting-options.ts'

interface SearchOptions extends NamedFilters, ProbeOptions {
  nodes?: boolean
  sort: string
  fields?: string
  limit: string
  watch?: boolean
}

/** What was asked, parsed. */
interface Query {
  filters: Filter[]
  sort: SortKey[]
  columns: Field[]
  nodes: boolean
  limit: number
  /** The order is the registries' own. */
  cheapestFirst: boolean
}

const privateOption: SettingOption = {
  flags: '--allow-private',
  key: 'buy.allow_private',
  meaning: 'probe sellers in private networks too',
}
const settingOptions = [registryOption, privateOption, rpcOption]
const usualSort = 'price'
const redrawMs = 2_000

const grammar = `
A word is a part of the model's name. A condition is a field, an operator and a value; all must hold:
  openseed search llama 'ctx>=32k' 'out<$0.30' 'region in eu-west,eu-north' 'gpu~4090'
Operators are < <= = != >= > in notin, and ~ for a regular expression. Units: 24GiB, $0.30, 200ms, 32k, 95%.
Prices are USD for 1M tokens. Silent sellers are left out unless state or age is asked for.

Fields:
`

export function addSearch(program: Command, open: OpenContext): void {
  const search = program.command('search').summary('find and compare sellers')
  search
    .description('Find sellers in the registries, by model and by any condition.')
    .argument('[query...]', 'words of the model name, and conditions such as ctx>=32k')
    .option('--nodes', 'one line for each seller instead of each model')
    .option('--max-price <usd>', 'at most this for 1M tokens, three of four of them prompt')
    .option('--min-ctx <tokens>', 'at least this context')
    .option('--region <names>', 'in one of these regions')
    .option('--gpu <name>', 'with such a GPU')
    .option('--direct', 'reached without a relay')
    .option('--sort <fields>', 'order by these fields; -field from the highest down', usualSort)
    .option('--fields <names>', 'show these columns, or all')
    .option('--limit <count>', 'at most so many lines', '20')
    .option('--watch', 'show it anew every 2 s until Ctrl-C')
    .option(
      '--probe',
      'measure the round trip to each seller now, and the first token where a wallet may pay',
    )
  addSettingOptions(search, settingOptions)
  search
    .option('--password-stdin', 'read the password from the first line of stdin')
    .addHelpText(
      'after',
      () => grammar + fields.map(({ name, meaning }) => `  ${name.padEnd(9)} ${meaning}`).join('\n'),
    )
    .action((words: string[], given: SearchOptions) => runSearch(open(), words, given))
  search
    .command('show')
    .description('everything that is known of one seller, and whether it is signed')
    .argument('<seller>', 'the id, or how it begins')
    .action((seller: string, _given: object, command: Command) =>
      showSeller(open(), seller, command.optsWithGlobals<SearchOptions>()),
    )
}

async function runSearch(context: Context, words: readonly string[], given: SearchOptions): Promise<void> {
  const query = await parseAll(words, given)
  if (given.watch && context.flags.json)
    throw new OpenSeedError('usage', { message: '--watch has no single answer.', hint: 'Leave out --json.' })
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  await using tools = await openTools(context, config)
  // Awaited here: the connections close with this function.
  if (given.watch) await watch(context, config, tools, query, given)
  else await answerOnce(context, config, tools, query, given)
}

async function answerOnce(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  given: SearchOptions,
): Promise<void> {
  const { print } = context
  const result = await search(context, config, tools, query, given)
  const text = await import('./search-text.ts')
  if (result.rows.length === 0) return explain(context, config, tools, query, result)
  const { jsonOf } = await import('../search/columns.ts')
  const rows = result.rows.slice(0, query.limit)
  const more = result.rows.length - rows.length
  const table = text.searchTable(print, rows, query.columns, roomOf(context))
  print.answer(
    {
      rows: rows.map((row) => jsonOf(row, given.fields === undefined ? fields : query.columns)),
      more,
      isPart: result.found.isPart,
      registries: registriesJson(result.found),
    },
    () => table.text,
  )
  for (const line of text.remarks({ ...result, more, table })) print.note(line)
}

async function watch(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  given: SearchOptions,
): Promise<void> {
  const { print, io } = context
  const text = await import('./search-text.ts')
  while (!io.signal.aborted) {
    try {
      const result = await search(context, config, tools, query, given)
      const rows = result.rows.slice(0, query.limit)
      const table = text.searchTable(print, rows, query.columns, roomOf(context))
      const more = result.rows.length - rows.length
      print.frame([table.text, '', ...text.remarks({ ...result, more, table })].join('\n'))
      await sleep(redrawMs, undefined, { signal: io.signal })
    } catch (error) {
      // Ctrl-C is how watching ends.
      if (!io.signal.aborted) throw error
    }
  }
}

interface Result {
  /** All that pass, in order. */
  rows: Row[]
  found: Found
  isProbed: boolean
}

async function search(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  given: SearchOptions,
): Promise<Result> {
  const { onePerSeller, sortRows } = await import('../search/sort.ts')
  const { isProbed, probeRows } = await import('./search-probe.ts')
  const { passesAll } = await import('../search/filter.ts')
  const isWanted =
    given.probe === true || [...query.filters, ...query.sort].some(({ field }) => isProbed(field))
  const early = query.filters.filter(({ field }) => !isProbed(field))
  const found = await tools.find(early, {
    rows: query.limit,
    cheapestFirst: query.cheapestFirst && early.length === query.filters.length,
  })
  const sorted = sortRows(found.rows, query.sort)
  const known = isWanted ? await probeRows(context, config, tools, sorted, given) : sorted
  const passing = sortRows(
    known.filter((row) => passesAll(query.filters, row)),
    query.sort,
  )
  return { rows: query.nodes ? onePerSeller(passing) : passing, found, isProbed: isWanted }
}

async function explain(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  { found, isProbed }: Result,
): Promise<void> {
  const { print } = context
  const { emptyJson, emptyText, nearestCommand, registryRemarks } = await import('./search-text.ts')
  const { explainEmpty } = await import('../search/explain-empty.ts')
  const { probeRows } = await import('./search-probe.ts')
  const { rows, filters } = await tools.findAll(query.filters)
  const known = isProbed ? await probeRows(context, config, tools, rows, { probe: false }) : rows
  const explanation = explainEmpty(known, filters)
  const command = nearestCommand(explanation, query)
  print.answer(
    {
      rows: [],
      more: 0,
      isPart: found.isPart,
      registries: registriesJson(found),
      explanation: emptyJson(explanation, command),
    },
    () => emptyText(print, explanation, command),
  )
  for (const line of registryRemarks(found)) print.note(line)
}

async function showSeller(context: Context, seller: string, given: SearchOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  await using tools = await openTools(context, config)
  const shown = await tools.show(seller)
  if (given.probe) {
    const { probeRows } = await import('./search-probe.ts')
    const { rowsOf } = await import('../search/listing.ts')
    const [row] = await probeRows(context, config, tools, rowsOf(shown.listing), given)
    if (row) shown.listing = row.listing
  }
  const { sellerJson, sellerText } = await import('./search-text.ts')
  context.print.answer(sellerJson(shown), () => sellerText(context.print, shown))
}

async function openTools({ io }: Context, config: Config): Promise<SearchTools> {
  const { openSearchTools } = await import('../node/search-tools.ts')
  return openSearchTools({
    registries: config.registries,
    allowPrivate: config.buy.allowPrivate,
    network: config.network,
    signal: io.signal,
  })
}

async function parseAll(words: readonly string[], given: SearchOptions): Promise<Query> {
  const { parseQuery } = await import('../search/grammar.ts')
  const { namedFilters } = await import('../search/named-filters.ts')
  const { parseFields, parseSort } = await import('../search/sort.ts')
  const { modelColumns, nodeColumns } = await import('../search/columns.ts')
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

function registriesJson({ registries }: Found) {
  return registries.map(({ url, sellers, refused, error }) => ({
    url,
    sellers,
    refused,
    error: error?.code ?? null,
  }))
}
