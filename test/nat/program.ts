/** `openseed` in a namespace: processes with a home of their own. */
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import { startCommand, type Running } from '../fixtures/command.ts'
import { insideOf } from './lab.ts'

export interface Place {
  namespace: string
  /** The folder of its keys and books. */
  home: string
}

export const password = 'hush'

// Halves the time that a start takes; Node checks each entry against its source.
const compileCache = join(tmpdir(), 'openseed-compile-cache')
// As in the world outside: what is private is nobody's, though the chain is a local one.
const environment = {
  PATH: process.env['PATH'] ?? '',
  OPENSEED_PASSWORD: password,
  OPENSEED_BUY_ALLOW_PRIVATE: 'false',
  OPENSEED_REGISTRY_ALLOW_PRIVATE: 'false',
  NODE_COMPILE_CACHE: compileCache,
}

/** Starts a command that runs until it is stopped. */
export function startOpenseed({ namespace, home }: Place, args: readonly string[]): Running {
  const [program, inside] = insideOf(namespace)
  return startCommand(program, [...inside, ...commandLine(home, args)], environment, home)
}

/** Runs a command to its end; gives the one value that it prints. */
export async function askOpenseed(
  { namespace, home }: Place,
  args: readonly string[],
): Promise<Record<string, unknown>> {
  const [program, inside] = insideOf(namespace)
  const { stdout } = await promisify(execFile)(program, [...inside, ...commandLine(home, args)], {
    env: environment,
    cwd: home,
  })
  return JSON.parse(stdout) as Record<string, unknown>
}

function commandLine(home: string, args: readonly string[]): string[] {
  const script = join(inject('program'), 'openseed.js')
  return [process.execPath, script, '--home', home, '--network', 'local', '--json', ...args]
}
