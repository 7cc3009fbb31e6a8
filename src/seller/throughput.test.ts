import { expect, test } from 'vitest'
import { Throughput } from './throughput.ts'

const openThroughput = () => {
  const clock = { nowMs: 0 }
  return { clock, throughput: new Throughput(() => clock.nowMs) }
}

test('where nothing ran there is no speed', () => {
  expect(openThroughput().throughput.tokensPerSec()).toBeNull()
})

test('the speed is that of one stream: all tokens by the time of all streams', () => {
  const { throughput } = openThroughput()
  throughput.add(100, 1000)
  throughput.add(300, 4000)
  expect(throughput.tokensPerSec()).toBe(80)
})

test('a stream too short to say something of the engine is left out', () => {
  const { throughput } = openThroughput()
  throughput.add(7, 1000)
  throughput.add(1000, 49)
  expect(throughput.tokensPerSec()).toBeNull()
})

test('what ended ten minutes ago does not count, nor what was before the last 32', () => {
  const { clock, throughput } = openThroughput()
  throughput.add(1000, 1000)
  for (let n = 0; n < 32; n += 1) throughput.add(10, 1000)
  expect(throughput.tokensPerSec()).toBe(10)
  clock.nowMs = 599_999
  expect(throughput.tokensPerSec()).toBe(10)
  clock.nowMs = 600_000
  expect(throughput.tokensPerSec()).toBeNull()
})
