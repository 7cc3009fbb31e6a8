import { expect, test } from 'vitest'
import type { Nat } from './nat-type.ts'
import { plansFor, type PunchSide } from './punch-plan.ts'

const side = (nat: Nat, open = nat === 'none'): PunchSide => ({
  nat,
  open,
  from: { ip: '44.1.1.1', port: 20_000 },
})

test.each([
  ['cone', 'cone', ['meet']],
  ['cone', 'none', ['meet']],
  ['none', 'cone', ['meet', 'reverse']],
  ['none', 'none', ['reverse', 'meet']],
  ['none', 'symmetric', ['reverse']],
  ['none', 'unknown', ['reverse']],
  ['cone', 'symmetric', []],
  ['symmetric', 'cone', []],
  ['symmetric', 'none', []],
  ['symmetric', 'symmetric', []],
  ['unknown', 'cone', []],
] as const)('A caller with NAT %s tries with one with NAT %s: %j.', (caller, called, plans) => {
  expect(plansFor(side(caller), side(called))).toEqual(plans)
})

test('A caller whose router opened a port is called back, whatever its NAT does else.', () => {
  expect(plansFor(side('symmetric', true), side('symmetric'))).toEqual(['reverse'])
})

test('Who does not know where it comes from can neither meet nor be called back.', () => {
  const lost: PunchSide = { nat: 'none', open: true, from: null }
  expect(plansFor(lost, side('cone'))).toEqual([])
  expect(plansFor(side('cone'), lost)).toEqual([])
})

test('One that is seen at an IPv4 address and one at an IPv6 address have no way but the relay.', () => {
  const ipv6: PunchSide = { nat: 'none', open: true, from: { ip: '2001:db8::1', port: 20_000 } }
  expect(plansFor(ipv6, side('none'))).toEqual([])
  expect(plansFor(side('none'), ipv6)).toEqual([])
})

test('Over IPv6, where nobody has a NAT and everybody a firewall, two meet first.', () => {
  const ipv6: PunchSide = { nat: 'none', open: true, from: { ip: '2001:db8::1', port: 20_000 } }
  expect(plansFor(ipv6, ipv6)).toEqual(['meet', 'reverse'])
})
