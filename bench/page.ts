import type { BenchResults } from './results.ts'
import { sectionsOf } from './table.ts'

/** What was measured, where, in a few lines. */
export function summaryOf({ machine, rounds, windowMs, paid, startedAt }: BenchResults): string {
  const { cpu, cores, memoryGiB, platform, node, fsyncMs } = machine
  return [
    `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${platform}, Node.js ${node}; one fsync takes ${fsyncMs.p50.toFixed(2)} ms (p99 ${fsyncMs.p99.toFixed(2)} ms).`,
    `${rounds} rounds of ${windowMs} ms for each target; ${startedAt.slice(0, 10)}.`,
    `${paid.requests.toLocaleString('en')} paid requests, ${paid.charged} atomic USDC charged.`,
  ].join('\n')
}

/** docs/benchmarks.md. */
export function pageOf(results: BenchResults): string {
  const sections = sectionsOf(results).map(
    ({ title, table }) => `## ${title}\n\n${notes[title] ?? ''}${table}\n`,
  )
  return `${introduction}\n${summaryOf(results).replaceAll('\n', '  \n')}\n\n${sections.join('\n')}`
}

const introduction = `# Benchmarks

<!-- Written by \`npm run bench -- --write\`. -->

Three ways to the same engine, all on loopback, each part a process of its own:

- **direct**: the client asks the engine. The engine is scripted and as fast as node:http allows: a fixed answer of some 400 bytes, or a stream with one event per turn of its event loop, usage included.
- **proxy**: through a bare proxy, node:http in, a keep-alive agent out, bytes piped. Nothing written in Node.js can do less.
- **paid**: through \`openseed buy\` and \`openseed sell\` from the built bundle. Every request is paid: real signatures, real SQLite databases with an fsync before each step that money depends on, a channel on a local chain.

An engine that answers in no time is the worst case: a real one takes 10 to 1000 times longer, and the difference in milliseconds stays while the ratio vanishes.

The client runs undici's parser in the bench's own process and is counted in none of the others; but it takes its share of the cores. The targets are measured in turn, round by round (direct, proxy, paid, direct, …), after a warm-up, so that a machine that drifts drifts for all. Ratios (×) compare with direct in the same round; the median of the rounds is shown. CPU is milliseconds per request, user and system, all threads.

Repeat it with \`npm run bench\`; \`--quick\` takes some seconds, \`--json\` prints one JSON object on stdout, \`--write\` writes this page.
`

const notes: Record<string, string> = {
  Search:
    'From the start of the process to its end, on the bundle. The DHT is one of forty nodes in one process, which takes its share of the cores.\n\n',
  Streams: 'TTFT is the time to the first byte of the body; "whole" is the time to its end.\n\n',
  Start:
    "Medians of ten starts of the bundle. The wallet's password costs no time here; in use, unlocking costs what its work factor asks for.\n\n",
  'The ways to a seller':
    'One request or stream at a time, between processes on loopback: plain HTTP kept alive, a pooled stream of a direct libp2p connection, and one through a relay.\n\n',
  'Long answers':
    'One answer at a time, the ways in turn; "piped" is plain HTTP through a process that only copies bytes between two TCP connections. CPU is user and system, all threads.\n\n',
  'Durable writes':
    'Every write is on disk when it is answered; those that wait together share one fsync.\n\n',
}
