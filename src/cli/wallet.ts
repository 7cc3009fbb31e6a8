import { Argument, type Command, Option } from 'commander'
import { OpenSeedError } from '../base/errors.ts'
import type { KeyName } from '../node/keystore.ts'
import type { Address } from '../wire/hex.ts'
import { confirm, type Context, type OpenContext } from './context.ts'
import { readAll } from './io.ts'
import type { PasswordOptions } from './password.ts'
import { addSettingOptions, flagValuesOf, rpcOption, type SettingOption } from './setting-options.ts'
import { addExplain } from './wallet-explain.ts'

const purposes: Record<KeyName, string> = {
  payer: 'pays for deposits: send USDC here',
  'buyer-authorizer': 'signs what each request may cost',
  'seller-authorizer': 'signs offers and receipts, pays gas: a seller sends a little ETH here',
}
const bindOptions: readonly SettingOption[] = [
  { flags: '--pay-to <address>', key: 'sell.pay_to', meaning: 'the wallet that earnings are paid to' },
  rpcOption,
]
const passwordStdin = ['--password-stdin', 'read the password from the first line of stdin'] as const

export function addWallet(program: Command, open: OpenContext): void {
  const wallet = program.command('wallet').summary('create, import, show or export your keys')
  wallet.description('Your keys, encrypted with one password: the payer and two keys that only sign.')
  wallet
    .command('create')
    .description('make a new wallet')
    .option(...passwordStdin)
    .action((options: PasswordOptions) => createWallet(open(), options))
  wallet
    .command('import')
    .description('take an existing key as the payer')
    .argument(
      '[file]',
      'a private key in hex, a keystore file or a recovery phrase; - or nothing reads stdin',
    )
    .option(...passwordStdin)
    .action((file: string | undefined, options: PasswordOptions) => importWallet(open(), file, options))
  wallet
    .command('show', { isDefault: true })
    .description('show the addresses; needs no password')
    .action(() => showWallet(open()))
  addExplain(wallet, open)
  wallet
    .command('export')
    .description('print a secret key, after a confirmation')
    .addArgument(new Argument('[key]', 'which key').choices(Object.keys(purposes)).default('payer'))
    .addOption(
      new Option('--format <format>', 'plain, or still encrypted as other wallets import it')
        .choices(['key', 'keystore'])
        .default('key'),
    )
    .option(...passwordStdin)
    .action((key: KeyName, options: ExportOptions) => exportKey(open(), key, options))
  const bind = wallet
    .command('bind')
    .description(
      'have a payout wallet whose key is elsewhere sign for the seller: prints what, takes the signature',
    )
  addSettingOptions(bind, bindOptions)
  bind
    .option('--import <signature>', 'what the wallet signed: in hex, or a file')
    .action((options: BindOptions) => bindWallet(open(), options))
}

async function createWallet(context: Context, options: PasswordOptions): Promise<void> {
  const { keystore } = await openWallet(context)
  const { chooseNewPassword } = await import('./password.ts')
  await answerAddresses(context, await keystore.create(await chooseNewPassword(context, options)))
}

async function importWallet(context: Context, file: string | undefined, options: PasswordOptions) {
  const { keystore, parseSecret } = await openWallet(context)
  const { chooseNewPassword, readPassword } = await import('./password.ts')
  if (options.passwordStdin && (file === undefined || file === '-')) {
    throw new OpenSeedError('usage', {
      message: 'The key and the password cannot both come from stdin.',
      hint: 'Name a file for the key, or set OPENSEED_PASSWORD_FILE.',
    })
  }
  const secret = await parseSecret(await readSecret(context, file), () => readPassword(context, options))
  const addresses = await keystore.importPayer(secret, await chooseNewPassword(context, options))
  await answerAddresses(context, addresses)
}

async function readSecret({ io, interactive }: Context, file: string | undefined): Promise<string> {
  if (file !== undefined && file !== '-') {
    const { readFile } = await import('node:fs/promises')
    try {
      return await readFile(file, 'utf8')
    } catch (error) {
      throw new OpenSeedError('invalid_request', { message: `${file} cannot be read.`, cause: error })
    }
  }
  if (!interactive || file === '-') return readAll(io.stdin)
  const { ask } = await import('./prompt.ts')
  return ask(io, 'Private key or recovery phrase: ', { hidden: true })
}

async function showWallet(context: Context): Promise<void> {
  const { keystore, folder } = await openWallet(context)
  const addresses = await keystore.addresses()
  if (Object.keys(addresses).length === 0) {
    throw new OpenSeedError('wallet_missing', {
      message: `There is no wallet in ${folder} yet.`,
      hint: 'openseed wallet create',
    })
  }
  await answerAddresses(context, addresses)
}

interface ExportOptions extends PasswordOptions {
  format: 'key' | 'keystore'
}

async function exportKey(context: Context, name: KeyName, options: ExportOptions): Promise<void> {
  const { keystore } = await openWallet(context)
  if (options.format === 'keystore') {
    const json = await keystore.readEncrypted(name)
    context.print.answer(JSON.parse(json), () => json)
    return
  }
  await confirm(context, `Print the secret key of ${name}? Whoever sees it can spend what it holds.`)
  const { readPassword } = await import('./password.ts')
  const { [name]: key } = await keystore.unlock([name], await readPassword(context, options))
  context.print.answer({ name, address: key.address, privateKey: key.privateKey }, () => key.privateKey)
}

interface BindOptions {
  import?: string
}

async function bindWallet(context: Context, options: BindOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...options }, bindOptions))
  const { importBinding, prepareBinding } = await import('../node/bind-wallet.ts')
  const { checksummed } = await import('../wire/hex.ts')
  const { print } = context
  const day = (atSec: number) => new Date(atSec * 1000).toISOString().slice(0, 10)
  if (options.import !== undefined) {
    const { peer, payTo, notAfterSec } = await importBinding(config, options.import, Date.now())
    const bound = { peer, payTo: checksummed(payTo), untilSec: notAfterSec }
    print.answer(bound, () => `${bound.payTo} vouches for ${peer} until ${day(notAfterSec)}.`)
    return
  }
  const wanted = await prepareBinding(config, Date.now())
  print.note(
    `Let ${wanted.payTo} sign this (eth_signTypedData_v4), then: openseed wallet bind --import SIGNATURE\nIt says that the wallet is paid by node ${wanted.peer} until ${day(wanted.untilSec)}, and moves no money.`,
  )
  print.answer(wanted, () => JSON.stringify(wanted.typedData, null, 2))
}

async function openWallet(context: Context) {
  const { paths } = await context.loadConfig()
  const { openKeystore, parseSecret } = await import('../node/keystore.ts')
  return { keystore: openKeystore(paths.keystore), parseSecret, folder: paths.keystore }
}

async function answerAddresses({ print }: Context, addresses: Partial<Record<KeyName, Address>>) {
  const { checksummed } = await import('../wire/hex.ts')
  const shown = Object.entries(addresses).map(
    ([name, address]) => [name as KeyName, checksummed(address)] as const,
  )
  print.answer(Object.fromEntries(shown), () =>
    print.table(
      [{ title: 'KEY', whole: true }, { title: 'ADDRESS', whole: true }, { title: 'PURPOSE' }],
      shown.map(([name, address]) => [name, address, purposes[name]]),
    ),
  )
}
