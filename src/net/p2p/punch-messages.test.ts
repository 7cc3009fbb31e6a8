import { assert, constantFrom, jsonValue, property } from 'fast-check'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../../base/errors.ts'
import { parseSide, parseStart } from './punch-messages.ts'
import { parseQuestion, parseSeen, parseYes } from './reach-messages.ts'

const peer = '12D3KooWN4WXJ2Yiez2jkzpjrTsEb3imbwacrh7HhpxjzR7v5iXE'

test('What one side says of itself is read as it was written.', () => {
  const side = { nat: 'cone', from: { ip: '44.1.1.1', port: 20_000 }, open: false }
  expect(parseSide(JSON.parse(JSON.stringify(side)))).toEqual(side)
  expect(parseSide({ nat: 'unknown', from: null, open: true })).toEqual({
    nat: 'unknown',
    from: null,
    open: true,
  })
})

test('An address is an IP address and a port, and nothing else.', () => {
  for (const from of [
    { ip: 'example.org', port: 1 },
    { ip: '44.1.1.1', port: 65_536 },
    { ip: '44.1.1.1' },
    'x',
  ])
    expect(() => parseSide({ nat: 'cone', from, open: false })).toThrow(OpenSeedError)
})

test('An IPv4 address in the clothes of an IPv6 one is the IPv4 one.', () => {
  expect(parseStart({ plan: 'reverse', at: { ip: '::ffff:10.0.0.1', port: 9 } })).toEqual({
    plan: 'reverse',
    at: { ip: '10.0.0.1', port: 9 },
  })
})

test('A question is one of three.', () => {
  expect(parseQuestion({ ask: 'seen' })).toEqual({ ask: 'seen' })
  expect(parseQuestion({ ask: 'dial', port: 8_404 })).toEqual({ ask: 'dial', port: 8_404 })
  expect(parseQuestion({ ask: 'confirm', peer, ip: '44.1.1.1' })).toEqual({
    ask: 'confirm',
    peer,
    ip: '44.1.1.1',
  })
  expect(() => parseQuestion({ ask: 'dial', port: 8_404.5 })).toThrow(OpenSeedError)
  expect(() => parseQuestion({ ask: 'confirm', peer: 'x', ip: '44.1.1.1' })).toThrow(OpenSeedError)
})

test('A refusal is neither yes nor no.', () => {
  expect(parseYes({ yes: true })).toBe(true)
  expect(parseYes({ refused: 'busy' })).toBeNull()
  expect(() => parseYes({})).toThrow(OpenSeedError)
})

test('Whatever strangers send, only refusals are thrown.', () => {
  const parsers = [parseSide, parseStart, parseQuestion, parseSeen, parseYes]
  assert(
    property(jsonValue(), constantFrom(...parsers), (input, parse) => {
      try {
        parse(input)
      } catch (error) {
        expect(error).toBeInstanceOf(OpenSeedError)
      }
    }),
    { numRuns: 500 },
  )
})
