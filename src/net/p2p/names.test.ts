import type { Connection, Transport } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { resolvingNames, type NameRules } from './names.ts'

const peer = '12D3KooWGRUaQPqbXkLmTSDDoBVpPmXPvc6y7fJFaKDoRgkNT8ct'

/** What is dialled for an address where only `reachable` answers. */
async function dialled(
  addr: string,
  rules: Partial<NameRules> & { ips?: string[]; reachable?: string } = {},
): Promise<{ tried: string[]; asked: string[]; won: string | null; error: unknown }> {
  const tried: string[] = []
  const asked: string[] = []
  const transport = {
    async dial(to: ReturnType<typeof multiaddr>) {
      const [first] = to.getComponents()
      tried.push(to.toString())
      if (rules.reachable !== undefined && first?.value !== rules.reachable) throw new Error('nobody there')
      return { remoteAddr: to } as unknown as Connection
    },
  } as unknown as Transport
  const resolve = async (name: string, family: 4 | 6) => {
    asked.push(`${name} ${family}`)
    const found = (rules.ips ?? []).filter((ip) => ip.includes(':') === (family === 6))
    if (found.length === 0) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    return found
  }
  const named = resolvingNames(transport, { allowPrivate: false, resolve, ...rules })
  const signal = new AbortController().signal
  const upgrader = {} as Parameters<Transport['dial']>[1]['upgrader']
  try {
    const { remoteAddr } = await named.dial(multiaddr(addr), { signal, upgrader })
    return { tried, asked, won: remoteAddr.toString(), error: null }
  } catch (error) {
    return { tried, asked, won: null, error }
  }
}

test('a name is asked for once, and the connection goes to the address it gave and bears it', async () => {
  const { asked, tried, won } = await dialled(`/dns4/relay.example/tcp/8406/p2p/${peer}`, {
    ips: ['8.8.4.4'],
  })
  expect(asked).toEqual(['relay.example 4'])
  expect(tried).toEqual([`/ip4/8.8.4.4/tcp/8406/p2p/${peer}`])
  expect(won).toBe(tried[0])
})

test('each kind of name asks for its own addresses', async () => {
  const ips = ['8.8.4.4', '2a01:4f8:c0c::1']
  expect((await dialled('/dns6/relay.example/tcp/1', { ips })).tried).toEqual(['/ip6/2a01:4f8:c0c::1/tcp/1'])
  expect((await dialled('/dns/relay.example/tcp/1', { ips })).asked).toEqual([
    'relay.example 4',
    'relay.example 6',
  ])
})

test('of several addresses the one that answers wins', async () => {
  const ips = ['8.8.4.4', '2a01:4f8:c0c::1']
  const { won } = await dialled('/dns/relay.example/tcp/1', { ips, reachable: '2a01:4f8:c0c::1' })
  expect(won).toBe('/ip6/2a01:4f8:c0c::1/tcp/1')
})

test('a family that the name does not have is no failure', async () => {
  expect((await dialled('/dns/relay.example/tcp/1', { ips: ['8.8.4.4'] })).won).toBe('/ip4/8.8.4.4/tcp/1')
})

test.each(['127.0.0.1', '10.1.2.3', '192.168.0.1', '169.254.169.254', '::1', 'fd00::1', '::ffff:10.0.0.1'])(
  'nobody is dialled at %s, whatever name leads there, unless private networks are allowed',
  async (ip) => {
    const refused = await dialled('/dns/relay.example/tcp/1', { ips: [ip] })
    expect(refused.tried).toEqual([])
    expect(refused.error).toMatchObject({
      message: 'relay.example leads to no address that may be dialled',
    })
    const allowed = await dialled('/dns/relay.example/tcp/1', { ips: [ip], allowPrivate: true })
    expect(allowed.tried).toHaveLength(1)
  },
)

test('where a name may lead beyond that is asked with the whole of the address', async () => {
  const ips = ['8.8.9.9', '8.8.8.8']
  const mayLeadTo = (ip: string, addr: string) => ip !== '8.8.9.9' || addr.endsWith('/tcp/2')
  const rules = { ips, mayLeadTo, reachable: 'none' }
  expect((await dialled('/dns4/relay.example/tcp/1', rules)).tried).toEqual(['/ip4/8.8.8.8/tcp/1'])
  expect((await dialled('/dns4/relay.example/tcp/2', rules)).tried).toHaveLength(2)
})

test.each(['0.0.0.0', '224.0.0.1', '::'])('nobody at all is dialled at %s', async (ip) => {
  const { tried } = await dialled('/dns/relay.example/tcp/1', { ips: [ip], allowPrivate: true })
  expect(tried).toEqual([])
})

test('of a name that leads to many, private ones among them, a few that may be are dialled', async () => {
  const ips = ['10.0.0.1', ...Array.from({ length: 20 }, (_, at) => `8.8.4.${at}`)]
  const { tried } = await dialled('/dns4/relay.example/tcp/1', { ips, reachable: 'none' })
  expect(tried).toEqual([0, 1, 2, 3].map((at) => `/ip4/8.8.4.${at}/tcp/1`))
})

test('a name that is unknown fails as the resolver says', async () => {
  expect((await dialled('/dns4/relay.example/tcp/1')).error).toMatchObject({ code: 'ENOTFOUND' })
})

test.each(['/ip4/8.8.4.4/tcp/1', '/dns4/registry.lan/tcp/1'])('%s is dialled as it is', async (addr) => {
  expect(await dialled(addr)).toMatchObject({ tried: [addr], asked: [] })
})
