/** Results as tables: Markdown whose columns also line up in a terminal. */
import type {
  BenchResults,
  CaseResult,
  Noticed,
  PeerResults,
  ProcessName,
  Spread,
  TargetResult,
} from './results.ts'

export interface Section {
  title: string
  table: string
}

const processes: readonly ProcessName[] = ['engine', 'proxy', 'seller', 'buyer']
const cpuTitles = processes.map((name) => `CPU ${name}`)

export function sectionsOf(results: BenchResults): Section[] {
  const { cases, startUp, search, discovery, peers, connections, micro, gas, peakRssMiB } = results
  return [
    { title: 'Plain completions', table: plainTable(cases.filter((one) => !isStream(one))) },
    { title: 'Streams', table: streamTable(cases.filter(isStream)) },
    {
      title: 'Peak memory, MiB',
      table: layOut(processes, [processes.map((name) => number(peakRssMiB[name] ?? null, 0))]),
    },
    {
      title: 'Start',
      table: layOut(
        ['from the start of the process', 'ms'],
        [
          ['Node.js alone (`node -e 0`)', number(startUp.nodeMs, 0)],
          ['`openseed version`', number(startUp.versionMs, 0)],
          ['`openseed --help`', number(startUp.helpMs, 0)],
          ['`openseed buy` ready, channel open and terms known', number(startUp.buyReadyMs, 0)],
          ['`openseed buy` to the first paid answer', number(startUp.buyFirstAnswerMs, 0)],
          ['… of that, after the wallet was unlocked', number(startUp.buyAfterUnlockMs, 0)],
        ],
      ),
    },
    {
      title: 'What a buyer notices of sellers',
      table: layOut(
        ['what', 'p50 ms', 'worst ms'],
        [
          noticed('a new one, from when it serves to when it can be bought from', discovery.newSellerMs),
          noticed('one that died, from then to the answer of another', discovery.deadSellerMs),
        ],
      ),
    },
    {
      title: 'Over a relay',
      table: layOut(
        ['what', 'p50 ms', 'worst ms'],
        [
          noticed('the first paid answer of a buyer that begins, deposit included', connections.firstPaidMs),
          noticed("a seller's place, from when its relay is back", connections.relayBackMs),
          noticed('a buyer that leaves a stream, from then until the seller sees it', connections.cancelMs),
        ],
      ),
    },
    {
      title: 'Search',
      table: layOut(
        ['the whole command', 'p50 ms', 'p99 ms'],
        [
          searchRow('`openseed version`, to compare', search.versionMs),
          searchRow(`a registry with ${search.listed} sellers of the model`, search.warmMs),
          searchRow(
            `the DHT alone, for the first time, ${search.nodes} nodes, finds ${search.found} of ${search.selling}`,
            search.coldMs,
          ),
        ],
      ),
    },
    { title: 'The ways to a seller', table: pathTable(peers) },
    {
      title: 'Long answers',
      table: bulkTable(peers),
    },
    {
      title: 'Many at once',
      table: layOut(
        ['what', 'amount'],
        [
          [
            `${number(peers.many.streams)} event streams at once through one host, ms`,
            number(peers.many.tookMs, 0),
          ],
          ['memory of the seller before them, MiB', number(peers.many.rssBeforeMiB, 0)],
          ['… and at most, MiB', number(peers.many.peakRssMiB, 0)],
        ],
      ),
    },
    {
      title: 'Signatures, µs',
      table: layOut(
        ['operation', 'native', 'JavaScript', 'ratio'],
        micro.curve.map(({ operation, nativeUs, pureUs }) => [
          operation,
          number(nativeUs),
          number(pureUs),
          number(pureUs / nativeUs, 1),
        ]),
      ),
    },
    {
      title: "The seller's admission",
      table: layOut(
        ['step', 'CPU µs', 'per second'],
        [
          ['parse, recover twice, check', number(micro.admission.verifyCpuUs), ''],
          [
            `the whole gate, ${micro.admission.concurrency} at a time, committed in groups`,
            number(micro.admission.cpuUs),
            number(micro.admission.perSec),
          ],
        ],
      ),
    },
    {
      title: "The buyer's payment",
      table: layOut(
        ['step', 'CPU µs', 'per second'],
        [
          [
            `decide, sign, commit in groups, ${micro.payment.concurrency} at a time`,
            number(micro.payment.openCpuUs),
            number(micro.payment.perSec),
          ],
          ['afterwards check the receipt and book it', number(micro.payment.bookCpuUs), ''],
        ],
      ),
    },
    {
      title: 'Durable writes',
      table: layOut(
        ['in flight', 'writes/s', 'writes a group'],
        micro.writer.map(({ inFlight, opsPerSec, opsPerGroup }) => [
          String(inFlight),
          number(opsPerSec),
          number(opsPerGroup, 1),
        ]),
      ),
    },
    {
      title: `A registry of ${number(micro.registry.sellers)} sellers of one model`,
      table: layOut(
        ['what', 'amount'],
        [
          ['the 20 cheapest as JSON, CPU µs', number(micro.registry.top20Us)],
          ['a filter that no seller passes, CPU µs', number(micro.registry.scanUs)],
          ['heartbeats verified per second of one core', number(micro.registry.beatsPerSec)],
          ['bytes of a record', number(micro.registry.recordBytes, 0)],
          ['heap of all, MiB', number(micro.registry.heapMiB, 0)],
          ['memory of the command at rest, MiB', number(micro.registry.rssMiB, 0)],
        ],
      ),
    },
    {
      title: 'Gas of a whole transaction',
      table: layOut(
        ['operation', 'gas', 'gas a claim'],
        Object.entries(gas).map(([operation, amount]) => {
          const claims = Number(/ 45$/.exec(operation)?.[0] ?? 0)
          return [operation, number(amount), claims > 0 ? number(amount / claims) : '']
        }),
      ),
    },
  ]
}

function pathTable({ paths }: PeerResults): string {
  const titles = ['path', 'request p50 ms', 'p99 ms', 'p50 ×', 'event p50 ms', 'p99 ms', 'added p50 ms']
  return layOut(
    titles,
    paths.map(({ path, requestMs, requestToPlain, eventMs, eventAddedMs }) => [
      path,
      number(requestMs.p50),
      number(requestMs.p99),
      number(requestToPlain),
      number(eventMs.p50),
      number(eventMs.p99),
      number(eventAddedMs),
    ]),
  )
}

function bulkTable({ bulk, bulkMiB }: PeerResults): string {
  const seller = ['MB per CPU s of the seller', '×']
  const between = ['of who passes them on', 'lowest to highest', '× piped']
  return layOut(
    [`path of ${bulkMiB} MiB`, 'MB/s', '×', ...seller, ...between],
    bulk.map(({ path, mbPerSec, toPlain, sellerMbPerCpuSec, sellerToPlain, between: relay }) => [
      path,
      number(mbPerSec),
      number(toPlain),
      number(sellerMbPerCpuSec),
      number(sellerToPlain),
      ...(relay === null
        ? ['', '', '']
        : [
            number(relay.mbPerCpuSec),
            `${number(relay.lowest)} to ${number(relay.highest)}`,
            number(relay.toPiped),
          ]),
    ]),
  )
}

const noticed = (what: string, { p50, worst }: Noticed): string[] => [what, number(p50, 0), number(worst, 0)]

const searchRow = (what: string, { p50, p99 }: Spread): string[] => [what, number(p50, 0), number(p99, 0)]

const isStream = ({ targets }: CaseResult): boolean => targets.some(({ ttftMs }) => ttftMs !== null)

function plainTable(cases: readonly CaseResult[]): string {
  const titles = ['concurrent', 'target', 'requests/s', 'p50 ms', 'p99 ms', 'requests/s ×', 'p50 ×', 'p99 ×']
  return layOut(
    [...titles, ...cpuTitles],
    cases.flatMap(({ concurrency, targets }) =>
      targets.map((one) => [
        String(concurrency),
        one.target,
        number(one.requestsPerSec),
        number(one.latencyMs.p50),
        number(one.latencyMs.p99),
        number(one.toDirect?.requestsPerSec ?? null),
        number(one.toDirect?.latencyP50 ?? null),
        number(one.toDirect?.latencyP99 ?? null),
        ...cpuCells(one),
      ]),
    ),
  )
}

function streamTable(cases: readonly CaseResult[]): string {
  const titles = ['load', 'concurrent', 'target', 'streams/s', 'events/s', 'TTFT p50 ms', 'TTFT p99 ms']
  const more = ['whole p50 ms', 'whole p99 ms', 'events/s ×', 'TTFT p50 ×', 'whole p50 ×']
  return layOut(
    [...titles, ...more, ...cpuTitles],
    cases.flatMap(({ load, concurrency, targets }) =>
      targets.map((one) => [
        load,
        String(concurrency),
        one.target,
        number(one.requestsPerSec),
        number(one.eventsPerSec),
        number(one.ttftMs?.p50 ?? null),
        number(one.ttftMs?.p99 ?? null),
        number(one.latencyMs.p50),
        number(one.latencyMs.p99),
        number(one.toDirect?.eventsPerSec ?? null),
        number(one.toDirect?.ttftP50 ?? null),
        number(one.toDirect?.latencyP50 ?? null),
        ...cpuCells(one),
      ]),
    ),
  )
}

const cpuCells = ({ cpuMsPerRequest }: TargetResult): string[] =>
  processes.map((name) => number(cpuMsPerRequest[name] ?? null))

/** Three significant digits are all that such a measurement has. */
function number(value: number | null, decimals?: number): string {
  if (value === null) return ''
  const places = decimals ?? Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 0.001))))
  return value.toLocaleString('en', {
    minimumFractionDigits: Math.min(places, 3),
    maximumFractionDigits: Math.min(places, 3),
  })
}

function layOut(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = titles.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  const isText = titles.map((_, column) => rows.some((row) => /^[^\d]/.test(row[column] ?? '')))
  const line = (cells: readonly string[]) =>
    `| ${widths
      .map((width, column) => {
        const cell = cells[column] ?? ''
        return isText[column] ? cell.padEnd(width) : cell.padStart(width)
      })
      .join(' | ')} |`
  const rule = widths.map((width, column) =>
    isText[column] ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  )
  return [line(titles), line(rule), ...rows.map(line)].join('\n')
}
