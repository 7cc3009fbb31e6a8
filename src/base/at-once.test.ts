import { expect, test } from 'vitest'
import { atOnce } from './at-once.ts'

test('no more run than may, in the order in which they came, and a failure gives its place on', async () => {
  const inTurn = atOnce(2)
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>())
  const begun: number[] = []
  const works = gates.map(({ promise }, n) =>
    inTurn(async () => {
      begun.push(n)
      await promise
      return n
    }).catch(() => 'failed'),
  )
  expect(begun).toEqual([0, 1])
  gates[1]!.reject(new Error('no'))
  await works[1]
  expect(begun).toEqual([0, 1, 2])
  for (const { resolve } of gates) resolve()
  expect(await Promise.all(works)).toEqual([0, 'failed', 2, 3, 4])
  expect(begun).toEqual([0, 1, 2, 3, 4])
})
