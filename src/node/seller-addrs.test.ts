import { expect, test } from 'vitest'
import { nodeKey } from '../../test/fixtures/records.ts'
import { addrsToTell } from './seller-addrs.ts'

const { peerId } = nodeKey(1)
const relay = nodeKey(2).peerId
const relayed = (host: string) => `/ip4/${host}/tcp/8406/p2p/${relay}/p2p-circuit/p2p/${peerId}`
const direct = (host: string) => `/ip4/${host}/tcp/8405/p2p/${peerId}`

function told(addrs: readonly string[], { allowPrivate = false, mapped = null as string | null } = {}) {
  const nothing = { state: 'unknown', nat: 'unknown', observed: [], relays: [] } as const
  const reachability = () => ({ ...nothing, observed: [], relays: [], mapped })
  return addrsToTell({ peerId, addrs: () => [...addrs], reachability }, allowPrivate)
}

test('private addresses are told only where they are allowed', () => {
  const addrs = [direct('127.0.0.1'), direct('192.168.1.5'), direct('9.9.9.9'), relayed('10.0.0.1')]
  expect(told(addrs)).toEqual([direct('9.9.9.9')])
  expect(told(addrs, { allowPrivate: true })).toEqual([
    direct('9.9.9.9'),
    relayed('10.0.0.1'),
    direct('192.168.1.5'),
    direct('127.0.0.1'),
  ])
})

test('of many, two relays stay between the best direct ones', () => {
  const addrs = [
    direct('127.0.0.1'),
    relayed('9.9.9.1'),
    relayed('9.9.9.2'),
    relayed('9.9.9.3'),
    direct('10.0.0.1'),
    direct('9.9.9.9'),
  ]
  expect(told(addrs, { allowPrivate: true })).toEqual([
    direct('9.9.9.9'),
    relayed('9.9.9.1'),
    direct('10.0.0.1'),
    relayed('9.9.9.2'),
  ])
})

test('the port that a router passes on is told first, once, and with the name of the node', () => {
  const mapped = '/ip4/9.9.9.9/tcp/31000'
  const whole = `${mapped}/p2p/${peerId}`
  expect(told([direct('9.9.9.8'), whole], { mapped })).toEqual([whole, direct('9.9.9.8')])
})

test('behind a NAT the relays are all there is', () => {
  const addrs = [direct('192.168.1.5'), relayed('9.9.9.1'), relayed('9.9.9.2')]
  expect(told(addrs)).toEqual([relayed('9.9.9.1'), relayed('9.9.9.2')])
})
