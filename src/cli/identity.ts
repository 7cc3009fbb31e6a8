import { Argument, type Command } from 'commander'
import type { Identity } from '../node/identity-tools.ts'
import { confirm, type Context, type OpenContext } from './context.ts'
import { addSettingOptions, flagValuesOf, registryOption } from './setting-options.ts'

type RotatedRole = 'seller' | 'buyer'

const settingOptions = [registryOption]

export function addIdentity(program: Command, open: OpenContext): void {
  const identity = program.command('identity').summary('show or change the names of your nodes')
  identity.description(
    'The node keys of this home: the names under which others meet it. They hold no money.',
  )
  identity
    .command('show', { isDefault: true })
    .description('every node of this home')
    .action(() => showIdentities(open()))
  const rotate = identity.command('rotate').description('give a node a new key and so a new name')
  addSettingOptions(rotate, settingOptions)
  rotate
    .addArgument(new Argument('[role]', 'whose').choices(['seller', 'buyer']).default('seller'))
    .action((role: RotatedRole, given: Record<string, unknown>) => rotateOne(open(), role, given))
}

async function showIdentities(context: Context): Promise<void> {
  const { listIdentities } = await import('../node/identity-tools.ts')
  const identities = listIdentities(await context.loadConfig())
  const { print } = context
  print.answer({ identities }, () =>
    identities.length === 0
      ? 'No node of this home has run yet.'
      : print.table(
          [
            { title: 'ROLE' },
            { title: 'PEER', whole: true },
            { title: 'WALLET SIGNED UNTIL' },
            { title: 'FOLDER' },
          ],
          identities.map((one) => [one.role, one.peer, signedUntil(one), one.folder]),
        ),
  )
}

async function rotateOne(context: Context, role: RotatedRole, given: Record<string, unknown>): Promise<void> {
  const config = await context.loadConfig(flagValuesOf(given, settingOptions))
  const past = role === 'seller' ? ' What buyers know of it they will not know of the new one.' : ''
  await confirm(context, `Give the ${role} a new name?${past}`)
  const { rotateIdentity } = await import('../node/identity-tools.ts')
  const rotated = await rotateIdentity(config, role)
  const isCold = role === 'seller' && config.sell.payTo !== null
  context.print.answer(rotated, () =>
    [
      `The ${role} is now ${rotated.now.peer}.`,
      ...(rotated.before === null
        ? []
        : [`It was ${rotated.before}; that key stays beside the new one in ${rotated.now.folder}.`]),
      ...rotated.told.map((url) => `${url} knows that the old one left.`),
      ...(isCold ? ['The payout wallet must sign for the new name: openseed wallet bind'] : []),
    ].join('\n'),
  )
}

function signedUntil({ role, binding }: Identity): string {
  if (binding !== null) return new Date(binding.untilSec * 1000).toISOString().slice(0, 10)
  return role === 'seller' ? 'not yet' : '-'
}
