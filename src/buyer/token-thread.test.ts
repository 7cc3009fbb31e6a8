import { expect, test } from 'vitest'
import { silentLog } from '../base/log.ts'
import { TokenThread } from './token-thread.ts'

test('tokens are counted in a thread, for each text by itself', async () => {
  const thread = new TokenThread(silentLog)
  const [hello, none, marks] = (await thread.count(['Hello, world!', '', '<|endoftext|>']))!
  expect([hello, none]).toEqual([4, 0])
  // What looks like a control token is text.
  expect(marks).toBeGreaterThan(1)
  // A run without breaks takes no more than its share of time.
  const [run] = (await thread.count(['x'.repeat(200_000)]))!
  expect(run).toBeGreaterThan(1000)
  await thread.close()
  expect(await thread.count(['late'])).toBeNull()
})

test('more than can be counted is left out, and so is what a closing finds waiting', async () => {
  const thread = new TokenThread(silentLog)
  const waiting = Array.from({ length: 40 }, () => thread.count(['one two three']))
  await thread.close()
  const counted = await Promise.all(waiting)
  expect(counted).toHaveLength(40)
  expect(counted.slice(32)).toEqual(Array.from({ length: 8 }, () => null))
})
