import { expect, test } from 'vitest'
import { retry } from './backoff.ts'

function failing(times: number) {
  const tries: number[] = []
  const work = async (attempt: number) => {
    tries.push(attempt)
    if (attempt <= times) throw new Error(`failure ${attempt}`)
    return 'done'
  }
  return { tries, work }
}

test('a call that fails twice succeeds at its third try', async () => {
  const { tries, work } = failing(2)
  expect(await retry(work, { attempts: 3, baseMs: 1, maxMs: 2 })).toBe('done')
  expect(tries).toEqual([1, 2, 3])
})

test('the last failure is thrown when the tries are spent', async () => {
  const { tries, work } = failing(9)
  await expect(retry(work, { attempts: 2, baseMs: 1, maxMs: 2 })).rejects.toThrow('failure 2')
  expect(tries).toEqual([1, 2])
})

test('a failure that trying again cannot mend is thrown at once', async () => {
  const { tries, work } = failing(9)
  await expect(retry(work, { attempts: 5, baseMs: 1, maxMs: 2, shouldRetry: () => false })).rejects.toThrow(
    'failure 1',
  )
  expect(tries).toEqual([1])
})

test('an abort ends the wait with its reason', async () => {
  const { work } = failing(9)
  const controller = new AbortController()
  const waiting = retry(work, { attempts: 5, baseMs: 60_000, maxMs: 60_000, signal: controller.signal })
  setImmediate(() => controller.abort(new Error('stopped')))
  await expect(waiting).rejects.toThrow('stopped')
})
