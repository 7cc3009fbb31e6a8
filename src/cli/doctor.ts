import type { Command } from 'commander'
import type { NetDiagnosis } from '../node/net-doctor.ts'
import type { Context, OpenContext } from './context.ts'
import { addSettingOptions, bootstrapOption, flagValuesOf, registryOption } from './setting-options.ts'

const settingOptions = [registryOption, bootstrapOption]

export function addDoctor(program: Command, open: OpenContext): void {
  const doctor = program.command('doctor').summary('find out what is wrong')
  doctor.description('Looks at how things stand, and says what would improve them.')
  const net = doctor
    .command('net', { isDefault: true })
    .description('how buyers reach the seller of this home: directly, through a hole in the NAT, over relays')
  addSettingOptions(net, settingOptions)
  net.action((given: Record<string, unknown>) => examineNet(open(), given))
}

const meanings: Record<NetDiagnosis['state'], string> = {
  off: 'by URL only: peer-to-peer is off, or the seller is not announced',
  starting: 'the peer-to-peer side is starting',
  unknown: 'not known yet',
  public: 'directly',
  punchable: 'over a relay first, then directly through the NAT',
  relayed: 'over relays',
  unreachable: 'not at all',
}

async function examineNet(context: Context, given: Record<string, unknown>): Promise<void> {
  const config = await context.loadConfig(flagValuesOf(given, settingOptions))
  const { diagnoseNet } = await import('../node/net-doctor.ts')
  const { print, io } = context
  const found = await diagnoseNet(config, io.signal)
  print.answer(found, () =>
    [
      print.table(
        [{ title: 'BUYERS REACH IT' }, { title: meanings[found.state], whole: true }],
        rowsOf(found),
      ),
      ...(found.advice.length > 0 ? ['', ...found.advice] : []),
    ].join('\n'),
  )
}

type Row = [name: string, value: string]

function rowsOf(found: NetDiagnosis): Row[] {
  const { dht } = found
  const registries = found.registries.map(
    ({ url, answers }) => `${url} ${answers ? 'answers' : 'does not answer'}`,
  )
  return [
    [
      'seller',
      found.running ? `running, ${found.peer ?? 'not announced'}` : 'not running; seen by a new node',
    ],
    ['NAT', found.nat],
    ...rowsFor('seen as', found.observed),
    ['port of the router', found.mapped ?? 'none'],
    ...rowsFor('relay', found.relays),
    ...rowsFor('told to buyers', found.addrs),
    ['DHT servers', String(found.dhtServers)],
    ...rowsFor('told to the DHT', dht === null ? [] : [`${dht.told} of ${dht.of}`]),
    ...rowsFor('registry', registries),
  ]
}

function rowsFor(name: string, values: readonly string[]): Row[] {
  return values.map((value, at) => [at === 0 ? name : '', value])
}
