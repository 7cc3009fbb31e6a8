import type { Command } from 'commander'
import { OpenSeedError } from '../base/errors.ts'
import { fields } from '../search/fields.ts'
import type { Context, OpenContext } from './context.ts'
import type { SearchOptions } from './search-run.ts'
import {
  addSettingOptions,
  bootstrapOption,
  flagValuesOf,
  registryOption,
  rpcOption,
  type SettingOption,
} from './setting-options.ts'

const privateOption: SettingOption = {
  flags: '--allow-private',
  key: 'buy.allow_private',
  meaning: 'sellers and registries in private networks too',
}
const trustlessOption: SettingOption = {
  flags: '--trustless',
  key: 'buy.trustless',
  meaning: 'ask the DHT and no registry: slower, and nobody tells load there',
}
const settingOptions = [registryOption, trustlessOption, bootstrapOption, privateOption, rpcOption]

const grammar = `
A word is a part of the model's name. A condition is a field, an operator and a value; all must hold:
  openseed search llama 'ctx>=32k' 'out<$0.30' 'region in eu-west,eu-north' 'gpu~4090'
Operators are < <= = != >= > in notin, and ~ for a regular expression. Units: 24GiB, $0.30, 200ms, 32k, 95%.
Prices are USD for 1M tokens. Silent sellers are left out unless state or age is asked for.

Fields:
`

export function addSearch(program: Command, open: OpenContext): void {
  const search = program.command('search').summary('find and compare sellers')
  search
    .description(
      'Find sellers in the registries, or in the DHT when none answers, by model and any condition.',
    )
    .argument('[query...]', 'words of the model name, and conditions such as ctx>=32k')
    .option('--nodes', 'one line for each seller instead of each model')
    .option('--max-price <usd>', 'at most this for 1M tokens, three of four of them prompt')
    .option('--min-ctx <tokens>', 'at least this context')
    .option('--region <names>', 'in one of these regions')
    .option('--gpu <name>', 'with such a GPU')
    .option('--direct', 'reached without a relay')
    .option('--sort <fields>', 'order by these fields; -field from the highest down', 'price')
    .option('--fields <names>', 'show these columns, or all')
    .option('--limit <count>', 'at most so many lines', '20')
    .option('--watch', 'show it anew every 2 s until Ctrl-C')
    .option(
      '--probe',
      'measure the round trip to each seller now, and the first token where a wallet may pay',
    )
  addSettingOptions(search, settingOptions)
  search
    .option('--password-stdin', 'read the password from the first line of stdin')
    .addHelpText(
      'after',
      () => grammar + fields.map(({ name, meaning }) => `  ${name.padEnd(9)} ${meaning}`).join('\n'),
    )
    .action((words: string[], given: SearchOptions) => runSearch(open(), words, given))
  search
    .command('show')
    .description('everything that is known of one seller, and whether it is signed')
    .argument('<seller>', 'the id, or how it begins')
    .action((seller: string, _given: object, command: Command) => {
      refuseListOptions(search)
      return showSeller(open(), seller, command.optsWithGlobals<SearchOptions>())
    })
}

const ofLists = ['nodes', 'maxPrice', 'minCtx', 'region', 'gpu', 'direct', 'sort', 'fields', 'limit', 'watch']

function refuseListOptions(search: Command): void {
  const given = search.options.find(
    (option) =>
      ofLists.includes(option.attributeName()) &&
      search.getOptionValueSource(option.attributeName()) === 'cli',
  )
  if (given) {
    throw new OpenSeedError('usage', {
      message: `search show shows one seller: ${given.long} is for lists.`,
      hint: `Leave out ${given.long}`,
    })
  }
}

async function runSearch(context: Context, words: readonly string[], given: SearchOptions): Promise<void> {
  const { parseAll, searchOnce, watchSearch } = await import('./search-run.ts')
  // What was asked comes before what is set: its errors are the likelier ones.
  const query = parseAll(words, given, context.flags)
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  await (given.watch ? watchSearch : searchOnce)(context, config, query, given)
}

async function showSeller(context: Context, seller: string, given: SearchOptions): Promise<void> {
  const { showSeller } = await import('./search-show.ts')
  const config = await context.loadConfig(flagValuesOf({ ...given }, settingOptions))
  await showSeller(context, config, seller, given)
}
