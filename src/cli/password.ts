/** Where the wallet's password may come from. Never from a flag: those are seen by every user of the machine. */
import { readFile } from 'node:fs/promises'
import { OpenSeedError } from '../base/errors.ts'
import type { Context } from './context.ts'
import { readAll } from './io.ts'
import { ask } from './prompt.ts'

export interface PasswordOptions {
  passwordStdin?: boolean
}

/** The password of a wallet that exists. */
export async function readPassword(context: Context, options: PasswordOptions = {}): Promise<string> {
  const given = await readGivenPassword(context, options)
  if (given !== null) return given
  if (!context.interactive) throw passwordNeeded()
  return ask(context.io, 'Password of the wallet: ', { hidden: true })
}

/** The password for a new wallet: typed twice when it is typed. */
export async function chooseNewPassword(context: Context, options: PasswordOptions = {}): Promise<string> {
  const given = await readGivenPassword(context, options)
  if (given !== null) return given
  if (!context.interactive) throw passwordNeeded()
  const first = await ask(context.io, 'New password for the wallet: ', { hidden: true })
  const second = await ask(context.io, 'The same again: ', { hidden: true })
  if (first === second) return first
  throw new OpenSeedError('wallet_locked', { message: 'The two passwords differ.', hint: 'Try again.' })
}

/** True when a password can be had without asking anyone. */
export function isPasswordGiven({ env }: Context, { passwordStdin }: PasswordOptions): boolean {
  return Boolean(passwordStdin || env.passwordFile || env.password)
}

async function readGivenPassword({ io, env }: Context, { passwordStdin }: PasswordOptions) {
  if (passwordStdin) return firstLine(await readAll(io.stdin))
  if (env.passwordFile) return firstLine(await readPasswordFile(env.passwordFile))
  return env.password ?? null
}

async function readPasswordFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new OpenSeedError('wallet_locked', {
      message: `The password file ${path} (OPENSEED_PASSWORD_FILE) cannot be read.`,
      cause: error,
    })
  }
}

function firstLine(content: string): string {
  return content.split(/\r?\n/, 1)[0] ?? ''
}

function passwordNeeded(): OpenSeedError {
  return new OpenSeedError('wallet_locked', {
    message: 'The wallet needs its password and there is nobody to ask.',
    hint: 'Set OPENSEED_PASSWORD_FILE, or pipe it in with --password-stdin.',
  })
}
