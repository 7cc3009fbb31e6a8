import type { Command } from 'commander'
import type { Context, OpenContext } from './context.ts'

export function addConfig(program: Command, open: OpenContext): void {
  const config = program.command('config').summary('show every setting and where it comes from')
  config.description('Settings come from flags, then variables, then config.toml, then defaults.')
  config
    .command('list', { isDefault: true })
    .description('every setting with its value and its origin; secrets are masked')
    .action(() => listConfig(open()))
}

async function listConfig(context: Context): Promise<void> {
  const { lines, paths } = await context.loadConfig()
  const { print } = context
  print.answer({ file: paths.configFile, settings: lines }, () => {
    const table = print.table(
      [{ title: 'SETTING' }, { title: 'VALUE' }, { title: 'ORIGIN' }],
      lines.map(({ key, value, origin }) => [key, value || '-', origin]),
    )
    return `${table}\n\nfile: ${paths.configFile}`
  })
}
