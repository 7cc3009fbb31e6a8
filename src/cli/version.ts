import type { Command } from 'commander'
import packageJson from '../../package.json' with { type: 'json' }
import type { OpenContext } from './context.ts'

export const { version, description } = packageJson

export function addVersion(program: Command, open: OpenContext): void {
  program
    .command('version')
    .description('show the version of openseed and of what it runs on')
    .action(() => {
      const { node, openssl } = process.versions
      const platform = `${process.platform}-${process.arch}`
      open().print.answer(
        { version, node, openssl, platform },
        () => `openseed ${version} (Node ${node}, ${platform})`,
      )
    })
}
