import { expect, test } from 'vitest'
import { openPunchPolicy } from './punch-policy.ts'

const minuteMs = 60_000

function policyAt(allowPrivate = false) {
  let nowMs = 0
  const policy = openPunchPolicy(allowPrivate, () => nowMs)
  return {
    knock: (ip: string, port = 20_000) => policy.admits({ ip, port }),
    pass: (ms: number) => {
      nowMs += ms
    },
  }
}

test('A peer sends nobody into a private network, to a broadcast, or to a port where services listen.', () => {
  const { knock } = policyAt()
  for (const ip of ['10.0.0.1', '127.0.0.1', '192.168.1.1', '169.254.1.1', '255.255.255.255', '::1'])
    expect(knock(ip)).toBe(false)
  expect(knock('44.1.1.1', 22)).toBe(false)
  expect(knock('44.1.1.1', 1_023)).toBe(false)
  expect(knock('44.1.1.1', 1_024)).toBe(true)
})

test('Private addresses are knocked at where they are allowed.', () => {
  expect(policyAt(true).knock('127.0.0.1')).toBe(true)
})

test('One port is knocked at twice a minute at most, whoever asks for it.', () => {
  const { knock, pass } = policyAt()
  expect([1, 2, 3].map(() => knock('44.1.1.1'))).toEqual([true, true, false])
  pass(minuteMs)
  expect([1, 2, 3].map(() => knock('44.1.1.1'))).toEqual([true, true, false])
})

test('One address is knocked at ten times a minute at most, whatever the ports.', () => {
  const { knock } = policyAt()
  const admitted = Array.from({ length: 50 }, (_, at) => knock('44.1.1.1', 20_000 + at)).filter(Boolean)
  expect(admitted).toHaveLength(10)
})

test('All addresses together have a limit, too.', () => {
  const { knock } = policyAt()
  const admitted = Array.from({ length: 500 }, (_, at) => knock(`44.1.${at >> 8}.${at & 255}`)).filter(
    Boolean,
  )
  expect(admitted).toHaveLength(120)
})
