import type { Command } from 'commander'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { ScanProgress } from '../buyer/sweep-scan.ts'
import type { PlannedChannel, Swept, SweepPlan } from '../node/sweep-tools.ts'
import { confirm, type Context, type OpenContext } from './context.ts'
import { openRunIo } from './long-running.ts'
import type { PasswordOptions } from './password.ts'
import {
  addSettingOptions,
  flagValuesOf,
  registryOption,
  rpcOption,
  type SettingOption,
} from './setting-options.ts'

interface SweepFlags extends PasswordOptions {
  foreign?: boolean
  fromBlock?: string
}

const options: readonly SettingOption[] = [
  {
    flags: '--seller <address>',
    key: 'buy.sellers',
    meaning: 'a seller to ask: its base URL, or openseed:// and its peer id (repeatable)',
    repeat: true,
  },
  registryOption,
  rpcOption,
]

export function addSweep(channels: Command, open: OpenContext): void {
  const sweep = channels.command('sweep')
  sweep.description(
    'take everything unspent back: finds all channels of the wallet, in the database and on the chain, shows what it would do and asks',
  )
  addSettingOptions(sweep, options)
  sweep
    .option('--foreign', 'empty channels too that another program made with this wallet')
    .option('--from-block <number>', 'read the chain from this block on, although it was read before')
    .option('--password-stdin', 'read the password from the first line of stdin')
    .action((given: SweepFlags) => sweepAll(open(), given))
}

async function sweepAll(context: Context, given: SweepFlags): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, options))
  const fromBlock = given.fromBlock === undefined ? undefined : blockOf(given.fromBlock)
  const { sweepChannels } = await import('../node/sweep-tools.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const { print } = context
  const io = await openRunIo(context, config, given, () => undefined)
  let toldAtMs = -Infinity
  const report = await sweepChannels(
    config,
    {
      foreign: given.foreign === true,
      fromBlock,
      onProgress: (progress) => {
        const nowMs = performance.now()
        if (nowMs - toldAtMs < 2000) return
        toldAtMs = nowMs
        print.note(progressText(progress))
      },
      onWholeChain: () =>
        print.note(
          'No RPC shows since when the escrow is there, so the whole chain is read; --from-block makes it shorter.',
        ),
      async confirm(plan) {
        print.note(planText(plan, formatUsd, context))
        await confirmPlan(context, plan)
      },
      onResult: (swept) => print.note(resultText(swept, formatUsd)),
    },
    io,
  )
  const { historyMissing } = report
  print.answer(
    {
      wallet: report.wallet,
      channels: report.channels.map(({ id, counterparty, result }) => ({
        id,
        counterparty,
        ...plain(result),
      })),
      historyMissing: historyMissing === null ? null : plainError(historyMissing),
    },
    () => [...summary(report.channels, formatUsd), ...missingText(historyMissing)].join('\n'),
  )
  if (historyMissing !== null || report.channels.some(({ result }) => 'error' in result)) context.exitCode = 1
}

function blockOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new OpenSeedError('usage', { message: `--from-block takes a block number, not ${text}.` })
}

type Format = (amount: bigint) => string

/** Whoever is not asked, because programs cannot be, finds the plan in the refusal. */
async function confirmPlan(context: Context, { wallet, channels }: SweepPlan): Promise<void> {
  try {
    await confirm(context, `Do this for wallet ${wallet}?`)
  } catch (thrown) {
    if (!hasCode(thrown, 'confirmation_needed')) throw thrown
    const { message, hint } = thrown
    throw new OpenSeedError('confirmation_needed', {
      message,
      hint,
      details: { wallet, channels },
      cause: thrown,
    })
  }
}

function progressText({ blocksRead, blocks, found }: ScanProgress): string {
  const part = blocks === 0 ? 100 : Math.floor((blocksRead * 100) / blocks)
  return `Reading the chain: ${part}% of ${blocks} blocks, ${found} forgotten channels found.`
}

function planText({ channels, historyMissing }: SweepPlan, usd: Format, { print }: Context): string {
  const table = print.table(
    [
      { title: 'CHANNEL', whole: true },
      { title: 'WITH' },
      { title: 'UP TO', align: 'right' },
      { title: 'WHAT' },
    ],
    channels.map((channel) => [
      channel.id.slice(0, 12),
      channel.counterparty,
      channel.step.kind === 'nothing' ? '-' : usd(channel.step.amount),
      stepText(channel),
    ]),
  )
  return [table, ...missingText(historyMissing)].join('\n')
}

function stepText({ step }: PlannedChannel): string {
  switch (step.kind) {
    case 'nothing':
      return 'nothing to do'
    case 'foreign':
      return 'left alone: another program made it (--foreign empties it too)'
    case 'later':
      return `a deposit is on its way; again after ${timeText(step.untilSec)}`
    case 'refund':
      return 'ask the seller; without it begin a withdrawal'
    case 'withdraw':
      return `begin a withdrawal, to be finished after ${timeText(step.untilSec)}`
    case 'wait':
      return `being withdrawn; can be finished after ${timeText(step.untilSec)}`
    default:
      return 'finish the withdrawal'
  }
}

function resultText({ id, result }: Swept, usd: Format): string {
  const name = id.slice(0, 12)
  switch (result.kind) {
    case 'refunded':
      return `${name} ${usd(result.amount)} refunded.`
    case 'withdrawn':
      return `${name} ${usd(result.amount)} withdrawn.`
    case 'withdrawing': {
      const why = result.because === null ? '' : ` (${result.because})`
      return `${name} ${usd(result.amount)} is being withdrawn until ${timeText(result.unlocksAtSec)}${why}.`
    }
    case 'waiting':
      return `${name} ${usd(result.amount)} can be had after ${timeText(result.untilSec)}.`
    case 'left':
      return `${name} left as it is.`
    case 'unknown':
      return `${name} not known yet: ${result.error.message} The next sweep looks.`
    default:
      return `${name} failed: ${result.error.message}${result.error.hint ? ` ${result.error.hint}` : ''}`
  }
}

function summary(channels: readonly Swept[], usd: Format): string[] {
  if (channels.length === 0) return ['Nothing is left in channels.']
  const results = channels.map(({ result }) => result)
  const sum = (kinds: readonly string[]) =>
    results.reduce(
      (total, result) => total + (kinds.includes(result.kind) && 'amount' in result ? result.amount : 0n),
      0n,
    )
  const untilSec = results.flatMap((result) =>
    result.kind === 'withdrawing'
      ? [result.unlocksAtSec]
      : result.kind === 'waiting'
        ? [result.untilSec]
        : [],
  )
  const lines = [`Back in the wallet: ${usd(sum(['refunded', 'withdrawn']))}.`]
  if (untilSec.length > 0) {
    const amount = usd(sum(['withdrawing', 'waiting']))
    lines.push(`On its way: ${amount}. Run this again after ${timeText(Math.max(...untilSec))}.`)
  }
  return lines
}

function missingText(error: OpenSeedError | null): string[] {
  if (error === null) return []
  return [
    `The chain's history could not be read to its end: ${error.message} Run this again, perhaps with another --rpc-url.`,
  ]
}

function plain(result: Swept['result']) {
  return 'error' in result ? { kind: result.kind, error: plainError(result.error) } : result
}

const plainError = ({ code, message, hint }: OpenSeedError) => ({ code, message, ...(hint ? { hint } : {}) })

const timeText = (atSec: number) => new Date(atSec * 1000).toISOString().replace('.000Z', 'Z')
