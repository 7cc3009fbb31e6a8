import type { LookupAddress } from 'node:dns'
import { expect, test } from 'vitest'
import { guardedLookup, isPublicUrl, type Resolve } from './guarded-lookup.ts'
import { ownOf, type IsOwn } from './own-addresses.ts'

const answer =
  (...ips: string[]): Resolve =>
  (_name, _options, done) =>
    done(
      null,
      ips.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

type Looked = { error: NodeJS.ErrnoException | null; address: string | LookupAddress[] }

function look(resolve: Resolve, all: boolean, isOwn?: IsOwn): Promise<Looked> {
  return new Promise((done) => {
    guardedLookup(resolve, isOwn)('seller.example', { all }, (error, address) => done({ error, address }))
  })
}

test('a name that leads to public addresses is dialled there', async () => {
  expect(await look(answer('93.184.216.34'), false)).toEqual({ error: null, address: '93.184.216.34' })
  const both = await look(answer('93.184.216.34', '2606:2800:220:1::1'), true)
  expect(both.address).toHaveLength(2)
})

test('private addresses are left out of what a name leads to', async () => {
  const { address } = await look(answer('10.0.0.1', '93.184.216.34'), true)
  expect(address).toEqual([{ address: '93.184.216.34', family: 4 }])
})

test.each(['127.0.0.1', '10.1.2.3', '169.254.169.254', '192.168.0.1', '::1', 'fe80::1', '::ffff:127.0.0.1'])(
  'a public name that leads to %s is not dialled',
  async (ip) => {
    const { error } = await look(answer(ip), false)
    expect(error).toMatchObject({ code: 'seller_unreachable' })
  },
)

test('a name that does not resolve fails as the resolver says', async () => {
  const failure = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
  const { error } = await look((_name, _options, done) => done(failure, []), false)
  expect(error).toBe(failure)
})

test('every address of this machine itself is refused, public ones as well', async () => {
  const own = ['8.8.4.4', '2a01:4f8:c0c::1', '192.168.0.2']
  for (const address of [...own, '::ffff:8.8.4.4']) {
    const { error } = await look(answer(address), false, ownOf(own))
    expect(error).toMatchObject({ code: 'seller_unreachable' })
    const url = `http://${address.includes(':') ? `[${address}]` : address}:8403`
    expect(isPublicUrl(url, ownOf(own))).toBe(false)
  }
})

test('URLs of strangers are judged by their host', () => {
  expect(isPublicUrl('https://seller.example.com/base')).toBe(true)
  expect(isPublicUrl('http://93.184.216.34:8403')).toBe(true)
  expect(isPublicUrl('http://127.0.0.1:8403')).toBe(false)
  expect(isPublicUrl('http://0x7f000001/')).toBe(false)
  expect(isPublicUrl('http://localhost:8403')).toBe(false)
  expect(isPublicUrl('ftp://seller.example.com')).toBe(false)
})
