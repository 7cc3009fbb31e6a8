import type { Command } from 'commander'
import { OpenSeedError } from '../base/errors.ts'
import type { FlagValues } from '../config/config.ts'
import type { SellerFacts } from '../node/run-sell.ts'
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

const price = (flags: string, key: string, what: string): SettingOption => ({
  flags,
  key,
  meaning: `${what}, in USD per million; model=price for one model (repeatable)`,
  repeat: true,
})

const priceOptions: readonly SettingOption[] = [
  price('--price-in <usd>', 'sell.price_in', 'price of prompt tokens'),
  price('--price-out <usd>', 'sell.price_out', 'price of generated tokens'),
  price('--price-cached <usd>', 'sell.price_cached', 'price of cached prompt tokens'),
]

export const sellOptions: readonly SettingOption[] = [
  {
    flags: '--engine <url>',
    key: 'sell.engines',
    meaning: 'base URL of an inference engine (repeatable; without it the usual local ports are probed)',
    repeat: true,
  },
  ...priceOptions,
  {
    flags: '--listen <host:port>',
    key: 'sell.listen',
    meaning: 'where to listen, 127.0.0.1:8403 by default',
  },
  {
    flags: '--max-concurrency <count>',
    key: 'sell.max_concurrency',
    meaning: 'requests served at the same time',
  },
  { flags: '--pay-to <address>', key: 'sell.pay_to', meaning: 'the address that earnings are paid to' },
  {
    flags: '--public-url <url>',
    key: 'sell.public_url',
    meaning: 'the URL under which buyers reach this seller',
  },
  registryOption,
  {
    flags: '--p2p-listen <multiaddr>',
    key: 'sell.p2p_listen',
    meaning: 'where other nodes connect, /ip4/0.0.0.0/tcp/8405 by default; none switches it off (repeatable)',
    repeat: true,
  },
  {
    flags: '--p2p-announce <multiaddr>',
    key: 'sell.p2p_announce',
    meaning: 'tell others this address instead, as behind a router that passes a port on (repeatable)',
    repeat: true,
  },
  bootstrapOption,
  { flags: '--region <name>', key: 'sell.region', meaning: 'where this seller is, as announced' },
  {
    flags: '--take-over',
    key: 'sell.take_over',
    meaning: 'announce although another seller does so with the same node key',
  },
  { flags: '--min-deposit <usd>', key: 'sell.min_deposit', meaning: 'the smallest deposit that is taken' },
  {
    flags: '--withdraw-delay <seconds>',
    key: 'sell.withdraw_delay_sec',
    meaning: 'withdraw delay of new channels',
  },
  {
    flags: '--claim-interval <seconds>',
    key: 'sell.claim_interval_sec',
    meaning: 'claim at least this often',
  },
  { flags: '--claim-threshold <usd>', key: 'sell.claim_threshold', meaning: 'claim at once above this sum' },
  rpcOption,
  logOption,
]

export function addSell(program: Command, open: OpenContext): void {
  const sell = program.command('sell').summary('sell what your inference engine can do')
  sell.description('Serve the models of a local inference engine, paid per request. Stop it with Ctrl-C.')
  addSettingOptions(sell, sellOptions)
  sell
    .option('--password-stdin', 'read the password from the first line of stdin')
    .action((given: PasswordOptions) => runSeller(open(), given))
}

async function runSeller(context: Context, given: PasswordOptions): Promise<void> {
  const config = await context.loadConfig(sellFlags({ ...given }))
  const { runSell } = await import('../node/run-sell.ts')
  const { formatUsd } = await import('../wire/amount.ts')
  const { print } = context

  const ready = (facts: SellerFacts) =>
    print.answer(facts, () => {
      const models = print.table(
        [{ title: 'MODEL' }, { title: 'IN / 1M', align: 'right' }, { title: 'OUT / 1M', align: 'right' }],
        facts.models.map(({ id, priceIn, priceOut }) => [id, formatUsd(priceIn), formatUsd(priceOut)]),
      )
      return [
        `Selling at ${print.strong(facts.url)} on ${facts.network}, paid to ${facts.payTo}.`,
        ...facts.engines.map(({ kind, url }) => `Engine: ${kind} at ${url}`),
        '',
        models,
        '',
        ...(facts.registries.length > 0
          ? [
              `Announced to ${facts.registries.join(', ')}. Buyers start with: openseed buy --registry ${facts.registries[0]}`,
            ]
          : [`Buyers start with: openseed buy --seller ${facts.url}`]),
        ...(facts.peer === null
          ? []
          : [`As ${facts.peer}. How buyers reach it from outside: openseed doctor net`]),
      ].join('\n')
    })
  await runSell(config, await openRunIo(context, config, given, ready))
}

/** A price is either for all models, or `model=price` for one; then it belongs to that model's table. */
export function sellFlags(given: Record<string, unknown>): FlagValues {
  const flags = { ...flagValuesOf(given, sellOptions) }
  const models: Record<string, Record<string, string>> = {}
  for (const { key } of priceOptions) {
    const named = flags[key]
    if (!named) continue
    const prices = (named.value as string[]).map(splitPrice)
    for (const { model, amount } of prices) {
      if (model !== null) (models[model] ??= {})[key.replace('sell.', '')] = amount
    }
    const general = prices.filter(({ model }) => model === null)
    if (general.length > 1) {
      throw new OpenSeedError('usage', {
        message: `${named.flag} is given twice for all models.`,
        hint: `For one model write ${named.flag} model=price.`,
      })
    }
    delete flags[key]
    if (general[0]) flags[key] = { flag: named.flag, value: general[0].amount }
  }
  if (Object.keys(models).length > 0) flags['sell.models'] = { flag: '--price-…', value: models }
  return flags
}

function splitPrice(input: string): { model: string | null; amount: string } {
  const at = input.lastIndexOf('=')
  return at < 0 ? { model: null, amount: input } : { model: input.slice(0, at), amount: input.slice(at + 1) }
}
