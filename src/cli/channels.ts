import type { Command } from 'commander'
import type { ChannelView } from '../node/channel-tools.ts'
import { addSweep } from './channels-sweep.ts'
import { confirm, type Context, type OpenContext } from './context.ts'
import { openRunIo } from './long-running.ts'
import type { PasswordOptions } from './password.ts'
import { addSettingOptions, flagValuesOf, rpcOption } from './setting-options.ts'

type MoveOptions = PasswordOptions & { amount?: string; finalize?: boolean }

const settingOptions = [rpcOption]
const passwordStdin = ['--password-stdin', 'read the password from the first line of stdin'] as const

export function addChannels(program: Command, open: OpenContext): void {
  const channels = program.command('channels').summary('list, show and empty payment channels')
  channels.description('Payment channels: what is deposited, spent and still yours.')
  channels
    .command('list', { isDefault: true })
    .description('every channel of this home')
    .action(() => listAll(open()))
  channels
    .command('show')
    .description('one channel in full')
    .argument('<id>', 'the id, or its first digits')
    .action((id: string) => showOne(open(), id))

  const refund = channels.command('refund').description('ask the seller for unspent money; takes seconds')
  addSettingOptions(refund, settingOptions)
  refund
    .argument('<id>', 'the id, or its first digits')
    .option('--amount <usd>', 'how much; all that is unspent without it')
    .option(...passwordStdin)
    .action((id: string, given: MoveOptions) => refundOne(open(), id, given))

  const withdraw = channels.command('withdraw')
  withdraw.description(
    'take unspent money back without the seller: once to begin, with --finalize after the delay',
  )
  addSettingOptions(withdraw, settingOptions)
  withdraw
    .argument('<id>', 'the id, or its first digits')
    .option('--finalize', 'the second step')
    .option(...passwordStdin)
    .action((id: string, given: MoveOptions) => withdrawOne(open(), id, given))
  addSweep(channels, open)
}

async function listAll(context: Context): Promise<void> {
  const config = await context.loadConfig()
  const { listChannels } = await import('../node/channel-tools.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const views = await listChannels(config)
  const { print } = context
  print.answer({ channels: views }, () =>
    views.length === 0
      ? 'No channels yet.'
      : print.table(
          [
            { title: 'ROLE' },
            { title: 'CHANNEL', whole: true },
            { title: 'WITH' },
            { title: 'BALANCE', align: 'right' },
            { title: 'CHARGED', align: 'right' },
            { title: 'HELD', align: 'right' },
            { title: 'STATE' },
            { title: 'UNLOCKS' },
          ],
          views.map((view) => [
            view.role,
            view.id.slice(0, 12),
            view.counterparty,
            formatUsd(view.balance),
            formatUsd(view.charged),
            formatUsd(view.held),
            view.state,
            unlockText(view),
          ]),
        ),
  )
}

async function showOne(context: Context, id: string): Promise<void> {
  const config = await context.loadConfig()
  const { showChannel } = await import('../node/channel-tools.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const view = await showChannel(config, id)
  const { print } = context
  print.answer(view, () =>
    print.table(
      [{ title: 'CHANNEL' }, { title: view.id, whole: true }],
      [
        ['role', view.role],
        ['with', view.counterparty],
        ['balance', formatUsd(view.balance)],
        ['charged', formatUsd(view.charged)],
        ['held', formatUsd(view.held)],
        ['signed', formatUsd(view.signed)],
        ['state', view.state],
        ['unlocks', unlockText(view)],
      ],
    ),
  )
}

async function refundOne(context: Context, id: string, given: MoveOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  const { refundChannel, showChannel } = await import('../node/channel-tools.ts')
  const { formatUsd, parseUsd } = await import('../wire/amount.ts')
  const amount = given.amount === undefined ? undefined : parseUsd(given.amount)
  const view = await showChannel(config, id)
  const what = amount === undefined ? 'everything unspent' : formatUsd(amount)
  await confirm(context, `Refund ${what} of channel ${view.id} to ${view.payer}?`)
  const io = await openRunIo(context, config, given, () => undefined)
  const refunded = await refundChannel(config, view.id, amount, io)
  context.print.answer(refunded, () => `Refunded ${formatUsd(refunded.amount)} in ${refunded.transaction}.`)
}

async function withdrawOne(context: Context, id: string, given: MoveOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  const { showChannel, withdrawChannel } = await import('../node/channel-tools.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const view = await showChannel(config, id)
  const finalize = given.finalize === true
  await confirm(
    context,
    `${finalize ? 'Finish' : 'Begin'} the withdrawal of channel ${view.id} to ${view.payer}?`,
  )
  const io = await openRunIo(context, config, given, () => undefined)
  const step = await withdrawChannel(config, view.id, io, { finalize })
  context.print.answer(step, () =>
    finalize
      ? `Withdrew ${formatUsd(step.amount)} in ${step.transaction}.`
      : `Withdrawing ${formatUsd(step.amount)}; finish it with --finalize after ${timeText(step.unlocksAtSec)}.`,
  )
}

function unlockText({ unlocksAtSec }: ChannelView): string {
  return unlocksAtSec === null ? '-' : timeText(unlocksAtSec)
}

function timeText(atSec: number | null): string {
  return atSec === null ? 'now' : new Date(atSec * 1000).toISOString().replace('.000Z', 'Z')
}
