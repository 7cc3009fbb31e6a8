import { expect, test } from 'vitest'
import { forPeople } from './log.ts'

test('a log line for people shows time, level, sentence, cause and facts', () => {
  const line = JSON.stringify({
    level: 40,
    time: '2026-01-02T12:34:56.789Z',
    model: 'tiny',
    waitedMs: 900,
    err: { message: 'socket closed' },
    msg: 'The engine is slow.',
  })
  expect(forPeople(line)).toBe('12:34:56 warn  The engine is slow. (socket closed) model=tiny waitedMs=900\n')
})
