import type { Command } from 'commander'
import type { ExplainedChannel, ExplainedTransfer, WalletExplained } from '../node/wallet-explain.ts'
import type { Context, OpenContext } from './context.ts'
import { addSettingOptions, flagValuesOf, rpcOption } from './setting-options.ts'

const options = [rpcOption]

export function addExplain(wallet: Command, open: OpenContext): void {
  const explain = wallet.command('explain')
  explain.description('show where all of your money is and when it can be had; needs no password')
  addSettingOptions(explain, options)
  explain.action((given: Record<string, unknown>) => explainAll(open(), given))
}

async function explainAll(context: Context, given: Record<string, unknown>): Promise<void> {
  const config = await context.loadConfig(flagValuesOf(given, options))
  const { explainWallet } = await import('../node/wallet-explain.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const nowMs = Date.now()
  const explained = await explainWallet(config, nowMs, context.io.signal)
  context.print.answer(explained, () => textOf(explained, formatUsd, nowMs, context))
}

type Format = (amount: bigint) => string

function textOf(explained: WalletExplained, usd: Format, nowMs: number, { print }: Context): string {
  const { address, usdc, depositing, paying, channels, transfers, totals } = explained
  const rows: [string, string, string][] = []
  const add = (what: string, amount: bigint, when: string) => {
    if (amount > 0n) rows.push([what, usd(amount), when])
  }
  if (usdc === null) rows.push(['wallet', 'unknown', 'when an RPC answers'])
  else rows.push(['wallet', usd(usdc - depositing - paying), 'now'])
  add('deposits on their way', depositing, depositText(channels))
  add('single transfers without an outcome', paying, transfersText(transfers))
  for (const channel of channels) {
    const name = `${channel.id.slice(0, 12)} ${channel.counterparty}`
    add(`${name}: free`, channel.free, freeText(channel))
    add(`${name}: held by running requests`, channel.held, 'when they end')
    add(`${name}: unresolved`, channel.unresolved, 'when the seller answers')
    add(`${name}: refund asked for`, channel.refunding, 'when the seller sends it')
    add(`${name}: being withdrawn`, channel.withdrawing, unlockText(channel))
  }
  const table = print.table(
    [{ title: 'WHERE' }, { title: 'USDC', align: 'right' }, { title: 'YOURS TO USE', whole: true }],
    rows,
  )
  const sums =
    totals === null
      ? []
      : [
          `In all ${usd(totals.yours)}: ${usd(totals.put)} put in, ${usd(totals.spent)} spent through channels.`,
        ]
  const exposure = channels.reduce((sum, channel) => sum + channel.exposure, 0n)
  return [
    `Wallet ${address}`,
    sourceText(explained, nowMs),
    '',
    table,
    '',
    ...sums,
    ...(exposure > 0n
      ? [`Signed and not charged yet: ${usd(exposure)}, the most that sellers could still claim.`]
      : []),
    ...transfers.map(transferText(usd)),
    gasText(explained.wei),
  ].join('\n')
}

function sourceText({ source, seenAtMs, block }: WalletExplained, nowMs: number): string {
  if (source === 'chain') return `As of block ${block}.`
  if (seenAtMs === null)
    return 'No RPC answers, and the chain was never looked at: channels are as the database has them.'
  const at = timeText(Math.floor(seenAtMs / 1000))
  return `No RPC answers: this is from memory, the chain as seen ${ageText(nowMs - seenAtMs)} ago (${at}).`
}

function freeText({ state, refundable }: ExplainedChannel): string {
  if (refundable > 0n) return 'pays for requests; openseed channels refund'
  return state === 'open' ? 'pays for requests' : 'openseed channels sweep'
}

function unlockText({ unlocksAtSec }: ExplainedChannel): string {
  return unlocksAtSec === null ? 'unknown' : `${timeText(unlocksAtSec)}; openseed channels sweep`
}

function depositText(channels: readonly ExplainedChannel[]): string {
  const last = Math.max(0, ...channels.map(({ deposit }) => deposit?.untilSec ?? 0))
  return `in its channel, or back by ${timeText(last)}`
}

function transfersText(transfers: readonly ExplainedTransfer[]): string {
  return `taken, or back by ${timeText(Math.max(0, ...transfers.map(({ unlocksAtSec }) => unlocksAtSec)))}`
}

const transferText =
  (usd: Format) =>
  ({ nonce, counterparty, amount, unlocksAtSec }: ExplainedTransfer): string =>
    `Transfer ${nonce.slice(0, 12)} of ${usd(amount)} to ${counterparty}: taken, or free again after ${timeText(unlocksAtSec)}.`

function gasText(wei: bigint | null): string {
  if (wei === null) return 'Gas: unknown.'
  const whole = (wei / 10n ** 12n).toString().padStart(7, '0')
  return `Gas: ${whole.slice(0, -6)}.${whole.slice(-6)} ETH; only withdrawals without the seller need some.`
}

function ageText(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000))
  if (minutes < 60) return `${minutes} min`
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`
  return `${Math.floor(minutes / 1440)} days`
}

const timeText = (atSec: number) => new Date(atSec * 1000).toISOString().replace('.000Z', 'Z')
