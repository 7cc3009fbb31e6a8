/** Writes the pages that follow from the code: docs/errors.md and docs/cli.md. `--check` compares and exits 1 when one is stale. */
import { readFile, writeFile } from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import type { Command, Option } from 'commander'
import { errorCodes, type ErrorMeaning } from '../src/base/error-codes.ts'
import { buildProgram } from '../src/cli/program.ts'
import { envName } from '../src/config/env.ts'
import type { Setting } from '../src/config/setting-shapes.ts'
import { settings } from '../src/config/settings.ts'

const generated =
  '<!-- Written by scripts/docs.ts; change the code it follows from, then run `npm run docs`. -->'

const exitCodes: Record<number, string> = {
  0: 'done',
  1: 'failed',
  2: 'the command line is not understood, or a confirmation is missing',
  3: 'the configuration or the home cannot be used',
  4: 'the wallet is missing, locked, or short of gas',
  5: 'no seller can take the request',
  6: 'the network or the chain cannot be reached',
  7: 'a payment was refused or cannot be made',
  8: "the seller's engine is down",
  130: 'interrupted',
}

function errorsPage(): string {
  const unexplained = Object.values<ErrorMeaning>(errorCodes).find(({ exit }) => !exitCodes[exit])
  if (unexplained) throw new Error(`exit code ${unexplained.exit} has no meaning here`)
  const rows = Object.entries<ErrorMeaning>(errorCodes).map(
    ([code, { meaning, status, exit, type, retryable }]) => [
      `\`${code}\``,
      meaning,
      String(status),
      `\`${type}\``,
      retryable ? 'yes' : 'no',
      String(exit),
    ],
  )
  return [
    '# Errors',
    generated,
    'A code means the same in an HTTP body (`error.code`), in the answer of a command under `--json` and in the text of an error. Match on the code, never on the message.\n' +
      'Retryable: the same call may succeed later without anyone doing something about it.',
    table(['code', 'meaning', 'HTTP', 'type', 'retryable', 'exit'], rows),
    '## Exit codes',
    table(
      ['exit', 'meaning'],
      Object.entries(exitCodes).map(([code, meaning]) => [code, meaning]),
    ),
  ].join('\n\n')
}

function cliPage(): string {
  const io = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
  const { command } = buildProgram({ ...io, variables: {}, signal: new AbortController().signal })
  return [
    '# Commands',
    generated,
    'Answers go to stdout, everything else to stderr. Under `--json` stdout is exactly one JSON value, an error too, and amounts are atomic USDC (millionths of a dollar) as decimal strings. Nothing is asked in pipes, in CI or under `--json`: what would be asked needs `--yes`. Exit codes are listed in [errors.md](errors.md).',
    '## Flags of every command',
    optionTable(command.options),
    ...command.commands.flatMap((sub) => commandSection(sub, 'openseed')),
    '## Settings',
    'A flag wins over a variable, a variable over `config.toml`, and that over the default. `openseed config` shows each value with its origin. Amounts are in USD. A name that is no setting is refused.',
    table(
      ['setting', 'variable', 'default', 'meaning'],
      Object.values(settings).map((setting) => settingRow(setting as Setting<unknown>)),
    ),
    '## Other variables',
    table(
      ['variable', 'meaning'],
      [
        ['`OPENSEED_HOME`', 'one folder for config, wallet and databases, as `--home`'],
        ['`OPENSEED_PASSWORD_FILE`', "a file whose first line is the wallet's password"],
        ['`OPENSEED_PASSWORD`', "the wallet's password itself"],
        ['`NO_COLOR`, `FORCE_COLOR`, `CI`', 'as usual'],
      ],
    ),
  ].join('\n\n')
}

function commandSection(command: Command, path: string): string[] {
  const name = `${path} ${command.name()}`
  const level = '#'.repeat(name.split(' ').length)
  const usage = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  )
  const section = [`${level} \`${[name, ...usage].join(' ')}\``, sentence(command.description())]
  const described = command.registeredArguments.map((argument) => {
    const words = [argument.description, argument.argChoices?.join(', ')].filter(Boolean)
    return `- \`${argument.name()}\`: ${words.join(': ')}`
  })
  if (described.length > 0) section.push(described.join('\n'))
  if (command.options.length > 0) section.push(optionTable(command.options))
  return [...section, ...command.commands.flatMap((sub) => commandSection(sub, name))]
}

function settingRow(setting: Setting<unknown>): string[] {
  const { key, meaning, noVariable } = setting
  const shown = setting.show(setting.fallback)
  return [`\`${key}\``, noVariable ? '' : `\`${envName(key)}\``, shown ? `\`${shown}\`` : '', meaning]
}

function optionTable(options: readonly Option[]): string {
  return table(
    ['flag', 'meaning'],
    options.map(({ flags, description }) => [`\`${flags}\``, description]),
  )
}

function table(head: string[], rows: string[][]): string {
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function line(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1)
  return capital.endsWith('.') ? capital : `${capital}.`
}

const check = process.argv.includes('--check')
for (const [name, page] of Object.entries({ 'errors.md': errorsPage(), 'cli.md': cliPage() })) {
  const url = new URL(`../docs/${name}`, import.meta.url)
  if (!check) await writeFile(url, `${page}\n`)
  else if ((await readFile(url, 'utf8').catch(() => '')) !== `${page}\n`) {
    console.error(`docs/${name} is stale: run npm run docs`)
    process.exitCode = 1
  }
}
