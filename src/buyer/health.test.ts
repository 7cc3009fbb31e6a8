import { describe, expect, test } from 'vitest'
import { afterReport, freshHealth, isDoubtful, type SellerHealth } from './health.ts'

const failTimes = (times: number) => {
  let health: SellerHealth = freshHealth
  let nowMs = 1000
  for (let i = 0; i < times; i++) {
    nowMs = Math.max(nowMs, health.coolUntilMs)
    health = afterReport(health, { kind: 'failed' }, nowMs)
  }
  return { health, coolDownMs: health.coolUntilMs - nowMs }
}

const busy = (retryAfterMs: number) => afterReport(freshHealth, { kind: 'busy', retryAfterMs }, 1000)

describe('a cool-down', () => {
  test('doubles with each failure from one second to one minute', () => {
    expect([1, 2, 3, 6, 7, 50].map((times) => failTimes(times).coolDownMs)).toEqual([
      1000, 2000, 4000, 32_000, 60_000, 60_000,
    ])
  })

  test('is not lengthened by failures of requests that ran side by side', () => {
    const once = afterReport(freshHealth, { kind: 'failed' }, 1000)
    expect(afterReport(once, { kind: 'failed' }, 1001)).toEqual(once)
  })

  test('ends with the first success', () => {
    expect(afterReport(failTimes(9).health, { kind: 'ok' }, 5)).toEqual({ ...freshHealth, hasServed: true })
  })

  test('follows what a busy seller asks for, within reason, and is no failure', () => {
    expect(busy(7000)).toEqual({ failures: 0, coolUntilMs: 8000 })
    expect(busy(0).coolUntilMs).toBe(2000)
    expect(busy(86_400_000).coolUntilMs).toBe(601_000)
  })

  test('leaves a seller silent until it is heard again, and its failures count until it has served', () => {
    const { health } = failTimes(2)
    expect(health.isSilent).toBe(true)
    const heard = afterReport(health, { kind: 'heard' }, 9_999)
    expect(heard).toEqual({ failures: 2, coolUntilMs: health.coolUntilMs })
    expect(afterReport(heard, { kind: 'failed' }, 99_999)).toMatchObject({ failures: 3, isSilent: true })
  })
})

test('a seller that has called every request wrong is doubted, one that ever served is believed', () => {
  const refuse = (health: SellerHealth) => afterReport(health, { kind: 'refused' }, 1000)
  const twice = refuse(refuse(freshHealth))
  expect(isDoubtful(twice)).toBe(false)
  expect(isDoubtful(refuse(twice))).toBe(true)
  expect(isDoubtful(afterReport(refuse(twice), { kind: 'failed' }, 1000))).toBe(true)
  const served = afterReport(refuse(twice), { kind: 'ok' }, 1000)
  expect(isDoubtful(refuse(refuse(refuse(served))))).toBe(false)
})
