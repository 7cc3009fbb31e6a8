import { describe, expect, test } from 'vitest'
import { ownOf } from '../own-addresses.ts'
import { dialPolicy } from './host-settings.ts'

const isOwn = ownOf(['8.8.4.4', '2a01:4f8:c0c::1'])
const peer = '12D3KooWGRUaQPqbXkLmTSDDoBVpPmXPvc6y7fJFaKDoRgkNT8ct'
const told = `/ip4/8.8.4.4/tcp/8406/p2p/${peer}`
const asker = { bootstrap: [told], server: false } as const

describe('whoever strangers name is dialled', () => {
  const mayDial = dialPolicy(asker, isOwn)

  test('at public addresses of others', () => {
    expect(mayDial('/ip4/8.8.8.8/tcp/8405')).toBe(true)
    expect(mayDial('/dns4/seller.example.com/tcp/8405')).toBe(true)
  })

  test.each([
    '/ip4/127.0.0.1/tcp/22',
    '/ip4/10.0.0.1/tcp/22',
    '/ip4/169.254.169.254/tcp/80',
    '/ip4/8.8.4.4/tcp/22',
    '/ip6/::ffff:8.8.4.4/tcp/22',
    '/ip6/2a01:4f8:c0c:0::1/tcp/22',
    `/ip4/8.8.4.4/tcp/22/p2p/${peer}/p2p-circuit`,
    '/dnsaddr/example.com',
  ])('and not at %s', (addr) => {
    expect(mayDial(addr)).toBe(false)
  })

  test('where the user sent it at all times, and over relays there', () => {
    expect(mayDial(told)).toBe(true)
    expect(mayDial(`${told}/p2p-circuit/p2p/${peer}`)).toBe(true)
  })
})

test('who allows private networks allows this machine', () => {
  const mayDial = dialPolicy({ ...asker, allowPrivate: true }, isOwn)
  expect(['/ip4/8.8.4.4/tcp/22', '/ip4/127.0.0.1/tcp/22', '/ip4/0.0.0.0/tcp/22'].map(mayDial)).toEqual([
    true,
    true,
    false,
  ])
})

test('servers may share a public machine', () => {
  const mayDial = dialPolicy({ bootstrap: [], server: 'when-public' }, isOwn)
  expect(mayDial('/ip4/8.8.4.4/tcp/8406')).toBe(true)
})
