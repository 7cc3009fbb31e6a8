/** One run of openseed: arguments in, exit code out. Nothing here touches the process itself. */
import { CommanderError, type Command } from 'commander'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'
import { openContext } from './context.ts'
import { interruptedExitCode, type Io } from './io.ts'
import { buildProgram } from './program.ts'

/** `argv` without node and script. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const { command, open } = buildProgram(io, argv)
  try {
    await command.parseAsync(argv, { from: 'user' })
    return open().exitCode
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) return report(thrown, argv, io)
    if (thrown.exitCode === 0) return 0
    // Only the root has no default command, so this is `openseed` alone.
    if (thrown.code !== 'commander.help') return report(usageError(thrown, command), argv, io)
    const { showStart } = await import('./start.ts')
    return showStart(open(), command).then(
      () => 0,
      (reason) => report(reason, argv, io),
    )
  }
}

function report(thrown: unknown, argv: readonly string[], io: Io): number {
  // After Ctrl-C anything may fail for being cut short; what failed for another reason is still told.
  if (io.signal.aborted && !(thrown instanceof OpenSeedError)) return interruptedExitCode
  if (thrown instanceof Error && thrown.name === 'AbortError') return interruptedExitCode
  const error = asOpenSeedError(thrown)
  // The command line may be what is wrong, so the flags that shape the message are looked up by hand.
  const has = (flag: string) => argv.includes(flag)
  const flags = { json: has('--json'), debug: has('--debug'), color: !has('--no-color') }
  openContext(io, flags).print.error(error)
  return error.meaning.exit
}

function usageError({ code, message }: CommanderError, program: Command): OpenSeedError {
  if (code === 'commander.excessArguments') {
    const unknown = unknownSubcommand(program)
    if (unknown) return unknown
  }
  const [first = '', suggestion] = message.replace(/^error: /, '').split('\n')
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1)}`
  return new OpenSeedError('usage', {
    message: /[.?]$/.test(sentence) ? sentence : `${sentence}.`,
    hint: suggestion?.replace(/^\((.*)\)$/, '$1') ?? 'openseed --help',
  })
}

// A group with a default command takes a mistyped one for an argument of the default.
function unknownSubcommand({ args, commands }: Command): OpenSeedError | null {
  const [groupName, word] = args
  const group = commands.find((command) => command.name() === groupName)
  if (!group || group.commands.length === 0 || word === undefined) return null
  if (group.commands.some((command) => command.name() === word)) return null
  const suggestion = nearest(
    word,
    group.commands.map((command) => command.name()),
  )
  return new OpenSeedError('usage', {
    message: `Unknown command '${groupName} ${word}'.`,
    hint: suggestion ? `Did you mean ${groupName} ${suggestion}?` : `openseed ${groupName} --help`,
  })
}
