import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { withDeadline } from './deadline.ts'
import { OpenSeedError } from './errors.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const late = () => new OpenSeedError('engine_timeout', { message: 'late' })

test('work that ends in time gives its value and leaves no timer', async () => {
  expect(await withDeadline(Promise.resolve(7), 1000, late)).toBe(7)
  expect(vi.getTimerCount()).toBe(0)
})

test('work that fails in time gives its own error and leaves no timer', async () => {
  await expect(withDeadline(Promise.reject(new Error('own')), 1000, late)).rejects.toThrow('own')
  expect(vi.getTimerCount()).toBe(0)
})

test('work that never ends is given up at the deadline with the named cause', async () => {
  const waiting = withDeadline(new Promise(() => {}), 1000, late)
  await Promise.all([
    expect(waiting).rejects.toMatchObject({ code: 'engine_timeout' }),
    vi.advanceTimersByTimeAsync(1000),
  ])
})
