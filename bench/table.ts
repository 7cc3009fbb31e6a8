/** Results as tables: Markdown whose columns also line up in a terminal. */
import type { BenchResults, CaseResult, ProcessName, TargetResult } from './results.ts'

export interface Section {
  title: string
  table: string
}

const processes: readonly ProcessName[] = ['engine', 'proxy', 'seller', 'buyer']
const cpuTitles = processes.map((name) => `CPU ${name}`)

export function sectionsOf(results: BenchResults): Section[] {
  const { cases, startUp, micro, gas, peakRssMiB } = results
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
