import type { Command } from 'commander'
import type { WatchFacts } from '../node/run-watch.ts'
import type { Context, OpenContext } from './context.ts'
import { addWatchStatus } from './watch-status.ts'
import { openRunLog } from './long-running.ts'
import type { PasswordOptions } from './password.ts'
import {
  addSettingOptions,
  bootstrapOption,
  flagValuesOf,
  logOption,
  registryOption,
  rpcOption,
  type SettingOption,
} from './setting-options.ts'

type WatchOptions = PasswordOptions & { code?: string }

export const watchOptions: readonly SettingOption[] = [
  {
    flags: '--seller <address>',
    key: 'watch.sellers',
    meaning: 'the seller to guard: https://host, or openseed:// and its peer id (repeatable)',
    repeat: true,
  },
  {
    flags: '--head-start <seconds>',
    key: 'watch.head_start_sec',
    meaning: 'how long a claim is left to the seller; a quarter of the withdraw delay by default',
  },
  registryOption,
  bootstrapOption,
  rpcOption,
  logOption,
]

export function addWatch(program: Command, open: OpenContext): void {
  const watch = program.command('watch').summary("guard a seller's earnings while it is away")
  watch.description(
    'Keep what a seller could claim, and claim it when a buyer withdraws and the seller does not. The money goes to the seller; this needs a little gas money of its own. Stop it with Ctrl-C.',
  )
  addSettingOptions(watch, watchOptions)
  watch
    .option('--code <code>', 'pairs with a seller for the first time; made there by: openseed watchers code')
    .option('--password-stdin', 'read the password from the first line of stdin')
    .action((given: WatchOptions) => runTower(open(), given))
  addWatchStatus(watch, open)
}

export function addWatchers(program: Command, open: OpenContext): void {
  const watchers = program.command('watchers').summary('the watchtowers of your seller')
  watchers.description('Watchtowers guard the earnings of the seller of this home, which must be running.')
  watchers
    .command('list', { isDefault: true })
    .description('who follows the seller, and how far behind it is')
    .action(() => list(open()))
  watchers
    .command('code')
    .description('make a code that pairs one watchtower within ten minutes')
    .action(() => makeCode(open()))
  watchers
    .command('remove')
    .description('tell a watchtower nothing more; what it has it keeps')
    .argument('<peer>', 'its peer id, as listed')
    .action((peer: string) => remove(open(), peer))
}

async function runTower(context: Context, given: WatchOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, watchOptions))
  const { runWatch } = await import('../node/run-watch.ts')
  const { chooseNewPassword, readPassword } = await import('./password.ts')
  const { print, io } = context
  const log = await openRunLog(context, config)
  if (config.network.warning) print.note(config.network.warning)
  const ready = (facts: WatchFacts) =>
    print.answer(facts, () =>
      [
        ...facts.sellers.map((seller) => `Guarding ${print.strong(seller)} on ${facts.network}.`),
        `Gas is paid by ${facts.gasAddress}: keep a little of the chain's coin there.`,
      ].join('\n'),
    )
  await runWatch(config, given.code, {
    log,
    ready,
    signal: io.signal,
    password: (isNew) => (isNew ? chooseNewPassword(context, given) : readPassword(context, given)),
  })
}

async function makeCode(context: Context): Promise<void> {
  const config = await context.loadConfig()
  const { makeTowerCode } = await import('../node/tower-tools.ts')
  const { print, io } = context
  const made = await makeTowerCode(config, io.signal)
  print.answer(made, () =>
    [
      print.strong(made.code),
      '',
      'Within ten minutes, on the machine that is to keep watch:',
      `openseed watch --seller ADDRESS --code ${made.code}`,
    ].join('\n'),
  )
}

async function list(context: Context): Promise<void> {
  const config = await context.loadConfig()
  const { listTowers } = await import('../node/tower-tools.ts')
  const { print, io } = context
  const towers = await listTowers(config, io.signal)
  print.answer({ towers }, () =>
    towers.length === 0
      ? 'No watchtowers yet. Pair one: openseed watchers code'
      : print.table(
          [
            { title: 'WATCHTOWER', whole: true },
            { title: 'NAME' },
            { title: 'LAST HEARD' },
            { title: 'BEHIND', align: 'right' },
          ],
          towers.map(({ peer, name, lastHeardMs, behind }) => [
            peer,
            name,
            lastHeardMs === null ? 'not since the start' : new Date(lastHeardMs).toISOString(),
            String(behind),
          ]),
        ),
  )
}

async function remove(context: Context, peer: string): Promise<void> {
  const config = await context.loadConfig()
  const { removeTower } = await import('../node/tower-tools.ts')
  const { print, io } = context
  await removeTower(config, peer, io.signal)
  print.answer({ removed: peer }, () => `${peer} is told nothing more.`)
}
