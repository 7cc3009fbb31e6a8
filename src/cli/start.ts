/** `openseed` alone: what it is, how things stand, and one next step. */
import type { Command } from 'commander'
import type { Context } from './context.ts'
import { description, version } from './version.ts'

export async function showStart(context: Context, program: Command): Promise<void> {
  const { network, paths, buy } = await context.loadConfig()
  const { openKeystore } = await import('../node/keystore.ts')
  const { checksummed } = await import('../wire/hex.ts')
  const { payer } = await openKeystore(paths.keystore).addresses()
  const wallet = payer ? checksummed(payer) : null
  const next = wallet === null ? 'openseed wallet create' : nextOf(program, buy.sellers)
  const { print } = context

  print.answer({ version, network: network.name, wallet, next }, () => {
    const names = program.commands.map((command) => command.name())
    const width = Math.max(...names.map((name) => name.length))
    return [
      description,
      '',
      ...program.commands.map(
        (command) =>
          `  openseed ${command.name().padEnd(width)}  ${command.summary() || command.description()}`,
      ),
      '',
      `network ${network.name}, wallet ${wallet ?? 'none yet'}`,
      `next: ${print.strong(next)}`,
    ].join('\n')
  })
}

function nextOf(program: Command, sellers: readonly string[]): string {
  if (!program.commands.some((command) => command.name() === 'buy')) return 'openseed wallet show'
  return sellers.length > 0 ? 'openseed buy' : 'openseed buy --seller URL'
}
