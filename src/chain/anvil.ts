/** A development chain of one's own: anvil from npm, started on a free port, gone with whoever started it. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { execa } from 'execa'
import { withDeadline } from '../base/deadline.ts'
import { OpenSeedError } from '../base/errors.ts'

export interface Anvil extends AsyncDisposable {
  readonly url: string
  readonly pid: number
  stop(): Promise<void>
}

export interface AnvilOptions {
  chainId: number
  /** Seconds between blocks; without it each transaction is mined at once. */
  blockTimeSec?: number
  /** 0 (the default) takes a free one. */
  port?: number
}

const startMs = 20_000

// The pipe on stdin is the lifeline: it closes however the parent ends, kill -9 included, and anvil is ended then.
// stdout is handed over to anvil alone, so that its end is seen too.
const lifeline =
  'anvil=$1; shift; "$anvil" "$@" </dev/null & echo "pid $!"; exec >/dev/null 2>&1; cat; kill -9 $!; wait $!'

/** Starts anvil and waits until it listens. Throws `chain_unavailable` when it is not installed or does not start. */
export async function startAnvil({ chainId, blockTimeSec, port = 0 }: AnvilOptions): Promise<Anvil> {
  const words = ['--chain-id', String(chainId), '--port', String(port), '--host', '127.0.0.1']
  if (blockTimeSec !== undefined) words.push('--block-time', String(blockTimeSec))
  // A group of its own: Ctrl-C in a terminal reaches the owner alone, which settles before it lets the chain go.
  const child = execa('sh', ['-c', lifeline, 'sh', anvilPath(), ...words], {
    stdin: 'pipe',
    buffer: false,
    reject: false,
    detached: true,
    cleanup: false,
  })
  const stop = async () => {
    child.stdin.end()
    await child
  }
  try {
    const { url, pid } = await withDeadline(readStart(child.stdout, child.stderr), startMs, () =>
      startFailed(`it did not listen within ${startMs / 1000} s`),
    )
    // It reports every call: what nobody reads would fill the pipe and stop it.
    child.stdout.resume()
    child.stderr.resume()
    return { url, pid, stop, [Symbol.asyncDispose]: stop }
  } catch (thrown) {
    await stop()
    throw thrown
  }
}

async function readStart(stdout: Readable, stderr: Readable): Promise<{ url: string; pid: number }> {
  let complaint = ''
  stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-500)))
  let pid = 0
  const lines = createInterface({ input: stdout })
  try {
    for await (const line of lines) {
      pid = Number(/^pid (\d+)$/.exec(line)?.[1] ?? pid)
      const place = /^Listening on (\S+)$/.exec(line)?.[1]
      if (place !== undefined) return { url: `http://${place}`, pid }
    }
  } finally {
    lines.close()
  }
  throw startFailed(complaint.trim() || 'it ended at once')
}

function anvilPath(): string {
  const machine = process.arch === 'arm64' ? 'arm64' : 'amd64'
  const packageName = `@foundry-rs/anvil-${process.platform}-${machine}`
  for (const place of [import.meta.url, pathToFileURL(join(process.cwd(), 'package.json')).href]) {
    try {
      return join(dirname(createRequire(place).resolve(`${packageName}/package.json`)), 'bin', 'anvil')
    } catch {
      continue
    }
  }
  throw new OpenSeedError('chain_unavailable', {
    message: `anvil is not installed (${packageName}).`,
    hint: 'npm install @foundry-rs/anvil',
  })
}

const startFailed = (reason: string) =>
  new OpenSeedError('chain_unavailable', { message: `anvil did not start: ${reason}.` })
