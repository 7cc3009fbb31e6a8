import { OpenSeedError } from '../base/errors.ts'
import type { Config, FlagValues } from '../config/config.ts'
import { readEnv, type Env } from '../config/env.ts'
import type { Io } from './io.ts'
import { openPrint, type Print } from './print.ts'

export interface GlobalFlags {
  home?: string
  network?: string
  json: boolean
  quiet: boolean
  yes: boolean
  color: boolean
  debug: boolean
}

/** What every command is given. */
export interface Context {
  io: Io
  env: Env
  flags: GlobalFlags
  print: Print
  /** False in pipes, in CI and under --json: then nothing may be asked. */
  interactive: boolean
  /** The exit code when the command ends without an error. */
  exitCode: number
  loadConfig(flags?: FlagValues): Promise<Config>
}

export type OpenContext = () => Context

const noFlags = { json: false, quiet: false, yes: false, color: true, debug: false }

export function openContext(io: Io, given: Partial<GlobalFlags>): Context {
  const env = readEnv(io.variables)
  const flags: GlobalFlags = { ...noFlags, ...given }
  return {
    io,
    env,
    flags,
    print: openPrint(io, flags, env.terminal),
    get interactive() {
      return io.stdin.isTTY === true && io.stderr.isTTY === true && !env.terminal.ci && !flags.json
    },
    exitCode: 0,
    async loadConfig(values = {}) {
      const { loadConfig } = await import('../config/config.ts')
      const network =
        flags.network === undefined ? {} : { network: { flag: '--network', value: flags.network } }
      return loadConfig(env, { ...values, ...network }, flags.home)
    },
  }
}

/** Money moves and secrets appear only after a yes. The question names amount and address. */
export async function confirm(context: Context, question: string): Promise<void> {
  if (context.flags.yes) return
  if (context.interactive) {
    const { ask } = await import('./prompt.ts')
    const reply = await ask(context.io, `${question} [y/N] `, { hidden: false })
    if (/^y(es)?$/i.test(reply.trim())) return
  }
  throw new OpenSeedError('confirmation_needed', {
    message: `Not confirmed: ${question}`,
    hint: 'Add --yes to confirm without being asked.',
  })
}
