import type { Command } from 'commander'
import type { BuyerFacts } from '../node/run-buy.ts'
import type { Context, OpenContext } from './context.ts'
import { openRunIo } from './long-running.ts'
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

export const buyOptions: readonly SettingOption[] = [
  {
    flags: '--seller <address>',
    key: 'buy.sellers',
    meaning: 'a seller: its base URL, or openseed:// and its peer id (repeatable)',
    repeat: true,
  },
  registryOption,
  bootstrapOption,
  {
    flags: '--trustless',
    key: 'buy.trustless',
    meaning: 'look sellers up in the DHT although registries answer',
  },
  {
    flags: '--lan',
    key: 'p2p.lan',
    meaning: 'find sellers on the local network too; needs --allow-private',
  },
  {
    flags: '--allow-private',
    key: 'buy.allow_private',
    meaning: 'go to sellers in private networks although strangers name them',
  },
  {
    flags: '--allow-plain-http',
    key: 'buy.allow_plain_http',
    meaning: 'go to http sellers without TLS although strangers name them',
  },
  {
    flags: '--port <port>',
    key: 'buy.port',
    meaning: 'port of the local API, 8402 by default; 0 takes any free one',
  },
  { flags: '--max-per-request <usd>', key: 'buy.max_per_request', meaning: 'the most one request may cost' },
  {
    flags: '--max-deposit-per-seller <usd>',
    key: 'buy.max_deposit_per_seller',
    meaning: 'the most one seller gets deposited',
  },
  { flags: '--max-per-day <usd>', key: 'buy.max_per_day', meaning: 'the most that 24 hours may cost' },
  rpcOption,
  logOption,
]

export function addBuy(program: Command, open: OpenContext): void {
  const buy = program
    .command('buy')
    .summary('an OpenAI-compatible API on this machine, paid from your wallet')
  buy.description(
    'Serve an OpenAI-compatible API on this machine and pay sellers per request. Stop it with Ctrl-C.',
  )
  addSettingOptions(buy, buyOptions)
  buy
    .option('--password-stdin', 'read the password from the first line of stdin')
    .action((given: PasswordOptions) => runBuyer(open(), given))
}

async function runBuyer(context: Context, given: PasswordOptions): Promise<void> {
  const config = await context.loadConfig(flagValuesOf({ ...given }, buyOptions))
  const { runBuy } = await import('../node/run-buy.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const { print } = context
  const { maxPerRequest, maxDepositPerSeller, maxPerDay } = config.buy

  const ready = (facts: BuyerFacts) =>
    print.answer(facts, () =>
      [
        `Buying on ${facts.network} from wallet ${facts.payer}.`,
        `At most ${formatUsd(maxPerRequest)} a request, ${formatUsd(maxDepositPerSeller)} deposited per seller, ${formatUsd(maxPerDay)} a day.`,
        ...sourceLines(facts, config.p2p.lan),
        '',
        `Base URL: ${print.strong(facts.baseUrl)}`,
        `  export OPENAI_BASE_URL=${facts.baseUrl} OPENAI_API_KEY=openseed`,
        `  curl ${facts.baseUrl}/models`,
      ].join('\n'),
    )
  await runBuy(config, await openRunIo(context, config, given, ready))
}

/** Where sellers come from; when from nowhere, what to do about it. */
export function sourceLines(
  { sellers, registries, bootstrap }: Pick<BuyerFacts, 'sellers' | 'registries' | 'bootstrap'>,
  lan: boolean,
): string[] {
  const lines = [
    ...sellers.map(({ url, models }) => `Seller ${url}: ${models.join(', ') || 'no models yet'}`),
    ...registries.map((registry) => `Sellers are found through ${registry}`),
    ...(bootstrap > 0 ? [`Sellers are found in the DHT through ${bootstrap} servers`] : []),
    ...(lan ? ['Sellers are found on the local network'] : []),
  ]
  if (lines.length > 0) return lines
  return [
    'Nobody to buy from is known: start it with a registry (--registry https://host) or a seller (--seller http://host:8403).',
  ]
}
