/** When `openseed search` finds nothing: which condition took what, and the nearest command that finds something. */
import type { Config } from '../config/config.ts'
import type { Asked } from '../node/search-sources.ts'
import type { SearchTools } from '../node/search-tools.ts'
import { searchCommand } from '../search/command-line.ts'
import { explainEmpty, type Explanation } from '../search/explain-empty.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { parseQuery } from '../search/grammar.ts'
import type { Row } from '../search/listing.ts'
import { asksOfState } from '../search/push-down.ts'
import { onePerSeller } from '../search/sort.ts'
import type { Context } from './context.ts'
import type { Print } from './print.ts'
import { probeRows } from './search-probe.ts'
import type { Query, Result } from './search-run.ts'
import { askedJson, askedRemarks } from './search-text.ts'

export async function explain(
  context: Context,
  config: Config,
  tools: SearchTools,
  query: Query,
  { found, isProbed }: Result,
): Promise<void> {
  const { print } = context
  const { rows, filters } = await tools.findAll(query.filters)
  const known = isProbed ? await probeRows(context, config, tools, rows, { mayBeOld: true }) : rows
  const explanation = inLines(explainEmpty(known, filters), known, query)
  const command = nearestCommand(explanation, {
    nodes: query.nodes,
    trustless: config.buy.trustless,
    unspoken: filters.slice(query.filters.length),
    source: found.source,
  })
  print.answer(
    {
      rows: [],
      more: 0,
      isPart: found.isPart,
      ...askedJson(found),
      explanation: emptyJson(explanation, command),
    },
    () => emptyText(print, explanation, command, found.source),
  )
  for (const line of askedRemarks(found)) print.note(line)
}

/** With one line for each seller fewer are found than there are offers. */
function inLines(explanation: Explanation, rows: readonly Row[], { nodes }: Query): Explanation {
  const { nearest } = explanation
  if (!nodes || nearest === null) return explanation
  const passing = rows.filter((row) => passesAll(nearest.filters, row))
  return { ...explanation, nearest: { ...nearest, finds: onePerSeller(passing).length } }
}

interface HowAsked {
  nodes: boolean
  trustless: boolean
  /** Conditions that nobody wrote. */
  unspoken: readonly Filter[]
  source: Asked['source']
}

/** The command that finds something. In registries a state that nobody asked for is live unless it is named. */
function nearestCommand({ nearest }: Explanation, how: HowAsked): string | null {
  if (nearest === null) return null
  const { nodes, trustless, unspoken, source } = how
  const spoken = nearest.filters.filter((filter) => !unspoken.includes(filter))
  const isStateGivenUp = source === 'registries' && !asksOfState(nearest.filters)
  const filters = isStateGivenUp ? [...spoken, ...parseQuery('state in live,stale')] : spoken
  return searchCommand(filters, { nodes, trustless })
}

function emptyText(
  print: Print,
  explanation: Explanation,
  command: string | null,
  source: Asked['source'],
): string {
  if (explanation.total === 0) {
    const who = source === 'dht' ? 'No seller was found in the DHT.' : 'No registry knows any seller yet.'
    return `${who} Be the first: openseed sell`
  }
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

function emptyJson({ total, removals, nearest }: Explanation, command: string | null) {
  return {
    total,
    filters: removals.map(({ filter, ...counts }) => ({ filter: filter.label, ...counts })),
    nearest: nearest && { command, finds: nearest.finds },
  }
}
