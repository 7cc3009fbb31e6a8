import { expect, test } from 'vitest'
import { agreeOn, gatherLists, type Reply } from './agreement.ts'

const reply = (from: string, rank: number): Reply<number> => ({
  from,
  rank,
  answer: rank,
  identity: `${rank}`,
})
const patience = { agree: 3, afterFirstMs: 5_000 }

async function* replies(...list: Reply<number>[]): AsyncGenerator<Reply<number>> {
  yield* list
}

async function* thenNothing<Value>(...list: Value[]): AsyncGenerator<Value> {
  yield* list
  await new Promise(() => {})
}

test('one honest answer outweighs any number that give what was true before', async () => {
  const heard = replies(reply('l1', 1), reply('l2', 1), reply('l3', 1), reply('l4', 1), reply('honest', 2))
  expect(await agreeOn(heard, patience)).toEqual({ answer: 2, holders: 1 })
})

test('three that agree are enough: a query that never ends is not waited for', async () => {
  const heard = thenNothing(reply('a', 1), reply('b', 1), reply('c', 1))
  expect(await agreeOn(heard, patience)).toEqual({ answer: 1, holders: 3 })
})

test('one holder that repeats itself does not agree with itself', async () => {
  const heard = replies(reply('a', 1), reply('a', 1), reply('a', 1))
  expect(await agreeOn(heard, patience)).toEqual({ answer: 1, holders: 1 })
})

test('too few that agree end the wait a while after the first', async () => {
  const heard = thenNothing(reply('a', 1))
  expect(await agreeOn(heard, { agree: 3, afterFirstMs: 20 })).toEqual({ answer: 1, holders: 1 })
})

test('a query that fails counts as ended', async () => {
  async function* failing(): AsyncGenerator<Reply<number>> {
    yield reply('a', 1)
    throw new Error('aborted')
  }
  expect(await agreeOn(failing(), patience)).toEqual({ answer: 1, holders: 1 })
  expect(await agreeOn(replies(), patience)).toBeNull()
})

test('empty lists do not count as lists', async () => {
  const heard = thenNothing<string[]>([], ['a'], [], ['b'], ['c'])
  expect(await gatherLists(heard, patience)).toEqual([['a'], ['b'], ['c']])
})
