import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import type { Io } from './io.ts'

/** Asks on stderr, so that stdout stays the answer. `hidden` does not echo what is typed. */
export async function ask(io: Io, question: string, { hidden }: { hidden: boolean }): Promise<string> {
  io.signal.throwIfAborted()
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const output = hidden ? silent : io.stderr
  const lines = createInterface({ input: io.stdin, output, terminal: hidden })
  // Only now: what is typed at once must not be echoed.
  io.stderr.write(question)
  const interrupted = new AbortController()
  for (const end of ['SIGINT', 'close']) lines.once(end, () => interrupted.abort())
  try {
    return await lines.question('', { signal: AbortSignal.any([io.signal, interrupted.signal]) })
  } finally {
    lines.close()
    if (hidden) io.stderr.write('\n')
  }
}
