/** The command tree and the flags that every command has. What a command does is loaded when it runs. */
import { Command } from 'commander'
import { addBuy } from './buy.ts'
import { addChannels } from './channels.ts'
import { addCompletion } from './completion.ts'
import { addConfig } from './config.ts'
import { addDemo } from './demo.ts'
import { addDoctor } from './doctor.ts'
import { addIdentity } from './identity.ts'
import { openContext, type Context, type GlobalFlags, type OpenContext } from './context.ts'
import type { Io } from './io.ts'
import { addReceipts } from './receipts.ts'
import { addSearch } from './search.ts'
import { addRegistry } from './registry.ts'
import { addSell } from './sell.ts'
import { addWatch, addWatchers } from './watch.ts'
import { addVersion, description, version } from './version.ts'
import { addWallet } from './wallet.ts'

export interface Program {
  command: Command
  /** The context of this run; the same one for the command and for reporting its end. */
  open: OpenContext
}

const commands = {
  buy: addBuy,
  sell: addSell,
  watch: addWatch,
  watchers: addWatchers,
  registry: addRegistry,
  search: addSearch,
  channels: addChannels,
  receipts: addReceipts,
  wallet: addWallet,
  identity: addIdentity,
  doctor: addDoctor,
  demo: addDemo,
  config: addConfig,
  version: addVersion,
  completion: addCompletion,
}

/** `argv` without node and script; commands that it does not ask for may be left out. */
export function buildProgram(io: Io, argv: readonly string[] = []): Program {
  const command = new Command('openseed')
  let context: Context | undefined
  const open = () => (context ??= openContext(io, command.opts<Partial<GlobalFlags>>()))

  command
    .description(description)
    .version(version, '-V, --version', 'show the version')
    .option('--home <folder>', 'keep config, wallet and databases in this folder')
    .option('--network <name>', 'which chain: base-sepolia, base or local')
    .option('--json', 'answer with exactly one JSON value on stdout, errors too')
    .option('--quiet', 'only the answer and errors')
    .option('--yes', 'confirm what would be asked')
    .option('--no-color', 'plain text')
    .option('--debug', 'show where an error came from')
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // What commander would say is an error like any other: run.ts prints it.
      writeErr: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
    })

  for (const add of commandsFor(argv)) add(command, open)
  return { command, open }
}

/** All commands in the order of the help, or the one that the line begins with: to set up the others takes longer. */
function commandsFor([first]: readonly string[]) {
  // A script for the shell and the list of commands need them all.
  const needsAll = first === undefined || first === 'completion' || !Object.hasOwn(commands, first)
  return needsAll ? Object.values(commands) : [commands[first as keyof typeof commands]]
}
