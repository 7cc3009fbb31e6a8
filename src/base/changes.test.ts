import { expect, test } from 'vitest'
import { Changes } from './changes.ts'

const never = new AbortController().signal

test('a change wakes everybody who waits for that thing, and nobody else', async () => {
  const changes = new Changes<string>()
  const woken: string[] = []
  const first = changes.next('a', never).then(() => woken.push('first'))
  const second = changes.next('a', never).then(() => woken.push('second'))
  void changes.next('b', never).then(() => woken.push('other'))
  changes.wake('a')
  await Promise.all([first, second])
  expect(woken).toEqual(['first', 'second'])
})

test('an abort ends the wait, also one that came before it', async () => {
  const changes = new Changes<string>()
  const stop = new AbortController()
  const waiting = changes.next('a', stop.signal)
  stop.abort()
  await waiting
  await changes.next('a', stop.signal)
  expect(stop.signal.aborted).toBe(true)
})
