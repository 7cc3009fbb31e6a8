/** What `sell` and `buy` share: a wallet, a log, and a word when they are ready. */
import type { Log } from '../base/log.ts'
import type { Config } from '../config/config.ts'
import { hasCode } from '../base/errors.ts'
import type { Context } from './context.ts'
import type { PasswordOptions } from './password.ts'

export interface RunIo<Facts> {
  log: Log
  /** Called once, when requests are taken. */
  ready(facts: Facts): void
  /** Aborted when it is time to drain and stop. */
  signal: AbortSignal
  /** The wallet's password, asked for when it is first needed. */
  password(): Promise<string>
}

export async function openRunIo<Facts>(
  context: Context,
  config: Config,
  options: PasswordOptions,
  ready: (facts: Facts) => void,
): Promise<RunIo<Facts>> {
  const { io } = context
  const log = await openRunLog(context, config)
  if (config.network.warning) context.print.note(config.network.warning)
  const { readPassword } = await import('./password.ts')
  const chosen = await ensureWallet(context, config, options)
  let password = chosen === null ? undefined : Promise.resolve(chosen)
  return { log, ready, signal: io.signal, password: () => (password ??= readPassword(context, options)) }
}

/** The log of a long-running command. */
export async function openRunLog({ flags }: Context, config: Config): Promise<Log> {
  const { openLog, silentLog } = await import('../base/log.ts')
  // Under --json stderr stays silent unless a level was asked for.
  const asked = config.lines.some(({ key, origin }) => key === 'log_level' && origin !== 'default')
  const silent = (flags.json || flags.quiet) && !asked
  return silent ? silentLog : openLog({ level: config.logLevel, json: flags.json })
}

/** The first run makes the wallet by itself, when there is someone or something to give a password. */
async function ensureWallet(
  context: Context,
  config: Config,
  options: PasswordOptions,
): Promise<string | null> {
  const { openKeystore } = await import('../node/keystore.ts')
  const keystore = openKeystore(config.paths.keystore)
  if ((await keystore.addresses()).payer) return null
  const { chooseNewPassword, isPasswordGiven } = await import('./password.ts')
  if (!context.interactive && !isPasswordGiven(context, options)) return null
  context.print.note(`Making a wallet in ${config.paths.keystore}.`)
  const password = await chooseNewPassword(context, options)
  try {
    await keystore.create(password)
  } catch (error) {
    // Another process on the same home was faster.
    if (!hasCode(error, 'wallet_exists')) throw error
  }
  return password
}
