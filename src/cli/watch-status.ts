import type { Command } from 'commander'
import type { GuardedSeller, TowerStatus } from '../node/tower-status.ts'
import type { Context, OpenContext } from './context.ts'

export function addWatchStatus(watch: Command, open: OpenContext): void {
  watch
    .command('status')
    .description('what the watchtower of this home holds for its sellers; fails when it does not run')
    .action(() => showStatus(open()))
}

async function showStatus(context: Context): Promise<void> {
  const config = await context.loadConfig()
  const { towerStatus } = await import('../node/tower-status.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const status = await towerStatus(config, context.io.signal)
  context.print.answer(status, () => textOf(status, formatUsd, context))
  if (!status.running) context.exitCode = 1
}

function textOf(status: TowerStatus, usd: (amount: bigint) => string, { print }: Context): string {
  const { running, sellers, rpcs } = status
  if (sellers.length === 0) return 'This watchtower is not paired with any seller.'
  const held = print.table(
    [
      { title: 'SELLER', whole: true },
      { title: 'CLAIMS', align: 'right' },
      { title: 'WORTH', align: 'right' },
      { title: 'WITHDRAWING', align: 'right' },
      { title: 'NEWEST CLAIM' },
      { title: 'LAST HEARD' },
    ],
    sellers.map((seller) => rowOf(seller, usd)),
  )
  if (!running) return [held, '', 'It does not run: nothing is claimed. Start it: openseed watch'].join('\n')
  const chain = print.table(
    [{ title: 'RPC', whole: true }, { title: 'BLOCK', align: 'right' }, { title: 'OF' }],
    rpcs.map(({ name, block, blockAtSec }) => [
      name,
      block === null ? '-' : String(block),
      blockAtSec === null ? 'never seen' : timeText(blockAtSec * 1000),
    ]),
  )
  return [held, '', chain, '', gasText(status)].join('\n')
}

function rowOf(seller: GuardedSeller, usd: (amount: bigint) => string): string[] {
  const { claims, value, withdrawing, newestMs, heardMs } = seller
  return [
    seller.seller,
    String(claims),
    value === null ? 'unknown' : usd(value),
    withdrawing === null ? 'unknown' : String(withdrawing),
    newestMs === null ? '-' : timeText(newestMs),
    heardMs === null ? 'not since the start' : timeText(heardMs),
  ]
}

function gasText({ gas, gasAddress }: TowerStatus): string {
  if (gas === null) return `Gas at ${gasAddress}: unknown, no RPC answers.`
  const whole = (gas.wei / 10n ** 12n).toString().padStart(7, '0')
  const enough = gas.claims === null ? '' : `, enough for ${gas.claims} claims`
  return `Gas at ${gasAddress}: ${whole.slice(0, -6)}.${whole.slice(-6)} ETH${enough}.`
}

const timeText = (atMs: number) => new Date(atMs).toISOString().replace(/\.\d+Z$/, 'Z')
