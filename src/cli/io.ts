import type { Readable, Writable } from 'node:stream'

/** Everything a command sees of the process, so that tests can run one without any. */
export interface Io {
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { isTTY?: boolean; columns?: number }
  stderr: Writable & { isTTY?: boolean; columns?: number }
  variables: NodeJS.ProcessEnv
  /** Aborted by the first SIGINT or SIGTERM. */
  signal: AbortSignal
}

/** Reads all of stdin; for secrets and files that are piped in. */
export async function readAll(input: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of input) chunks.push(Buffer.from(chunk as string | Uint8Array))
  return Buffer.concat(chunks).toString('utf8')
}

/** Of a run that was cut short by SIGINT or SIGTERM. */
export const interruptedExitCode = 130
