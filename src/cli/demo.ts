import type { Command } from 'commander'
import type { Context, OpenContext } from './context.ts'

interface DemoOptions {
  keep?: boolean
}

export function addDemo(program: Command, open: OpenContext): void {
  program
    .command('demo')
    .summary('buy and sell on a local chain, and account for every unit')
    .description(
      'Start a chain, a registry, two sellers and a buyer on this machine, chat for money, let a seller die, settle, and check the sums.',
    )
    .option('--keep', 'leave it running with its base URL until Ctrl-C')
    .action((options: DemoOptions) => demo(open(), options))
}

async function demo(context: Context, { keep = false }: DemoOptions): Promise<void> {
  const { runDemo } = await import('../node/demo.ts')
  const { print, io } = context
  await runDemo(
    { keep },
    {
      note: (text) => print.note(text),
      report({ table, ...sums }) {
        print.answer(sums, () => print.table(table.columns, table.rows))
        if (!sums.balanced) context.exitCode = 1
      },
      signal: io.signal,
    },
  )
}
