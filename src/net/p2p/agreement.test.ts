import { expect, test } from 'vitest'
import { agreeOn, gatherLists, isHeard, type Claim } from './agreement.ts'
import type { Heard } from './walk.ts'

type Reply = Heard<Claim<number> | null> | null

const says = (from: string, rank: number): Reply => ({
  from,
  answer: { answer: rank, identity: `${rank}`, rank },
})
const hasNone = (from: string): Reply => ({ from, answer: null })

/** Replies as they come, out of six nearest peers; after the last there is nothing but waiting. */
function hearing<Answer>(replies: (Heard<Answer> | null)[]) {
  let answered = 0
  async function* heard() {
    for (const reply of replies) {
      if (reply !== null) answered += 1
      yield reply
    }
    await new Promise(() => {})
  }
  return { heard: heard(), standing: () => ({ known: 6, answered, awaited: 0 }) }
}

async function* ended(...replies: Reply[]): AsyncGenerator<Reply> {
  yield* replies
}

test('liars that answer first with what was true before are not believed until two thirds have answered', async () => {
  const liars = [says('l1', 1), says('l2', 1), says('l3', 1)]
  const agreed = await agreeOn(hearing([...liars, says('honest', 2)]), { first: false })
  expect(agreed).toEqual({ answer: 2, holders: 1 })
})

test('two thirds are enough: the others are not waited for', async () => {
  const heard = hearing([says('a', 1), says('b', 1), null, hasNone('c'), says('d', 1)])
  expect(await agreeOn(heard, { first: false })).toEqual({ answer: 1, holders: 3 })
})

test('that nobody has it is believed only when nobody is left to ask', async () => {
  const none = ['a', 'b', 'c', 'd', 'e'].map(hasNone)
  const heard = hearing([...none, says('last', 7)])
  expect(await agreeOn(heard, { first: false })).toEqual({ answer: 7, holders: 1 })
  const standing = () => ({ known: 5, answered: 5, awaited: 0 })
  expect(await agreeOn({ heard: ended(...none), standing }, { first: false })).toBeNull()
})

test('the first valid answer is enough for who says so', async () => {
  const heard = hearing([hasNone('a'), says('b', 3)])
  expect(await agreeOn(heard, { first: true })).toEqual({ answer: 3, holders: 1 })
})

test('and that nobody has it when two thirds have answered, none of which knew it', async () => {
  const none = ['a', 'b', 'c', 'd'].map(hasNone)
  expect(await agreeOn(hearing(none), { first: true })).toBeNull()
  const last = [...none.slice(1), says('e', 4)]
  expect(await agreeOn(hearing(last), { first: true })).toEqual({ answer: 4, holders: 1 })
})

test('a deadline ends it with the best so far', async () => {
  const standing = () => ({ known: 20, answered: 2, awaited: 12 })
  const heard = ended(says('a', 5), says('b', 4))
  expect(await agreeOn({ heard, standing }, { first: false })).toEqual({ answer: 5, holders: 1 })
})

test('one holder that repeats itself does not agree with itself', async () => {
  const standing = () => ({ known: 2, answered: 1, awaited: 1 })
  const heard = ended(says('a', 1), says('a', 1))
  expect(await agreeOn({ heard, standing }, { first: false })).toEqual({ answer: 1, holders: 1 })
})

test('nothing is heard where nobody is known', () => {
  expect(isHeard({ known: 0, answered: 0, awaited: 0 })).toBe(false)
  expect([13, 14].map((answered) => isHeard({ known: 20, answered, awaited: 0 }))).toEqual([false, true])
})

test('enough of those who happened to be known are not enough while somebody nearer is to come', () => {
  expect(isHeard({ known: 20, answered: 18, awaited: 1 })).toBe(false)
})

test('lists are gathered until two thirds have answered; empty ones do not count as lists', async () => {
  const list = (from: string, ...answer: string[]) => ({ from, answer })
  const heard = hearing([list('a'), list('b', 'x'), null, list('c'), list('d', 'y')])
  expect(await gatherLists(heard)).toEqual([['x'], ['y']])
})
