import { expect, test, vi } from 'vitest'
import { atOnce } from './at-once.ts'
import { patient } from '../../test/fixtures/patient.ts'

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

test('what takes longer than there is patience gives its place on, once, and is waited for all the same', async () => {
  const inTurn = atOnce(1, 20)
  const begun: number[] = []
  const gates = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  const works = gates.map(({ promise }, n) =>
    inTurn(async () => {
      begun.push(n)
      await promise
      return n
    }),
  )
  await vi.waitUntil(() => begun.length === 3, patient)
  // The first two come to an end without a place to give: a fourth waits for the third.
  gates[0]!.resolve()
  gates[1]!.resolve()
  expect(await Promise.all(works.slice(0, 2))).toEqual([0, 1])
  const hasBegun = vi.fn<() => Promise<void>>(async () => {})
  const fourth = inTurn(hasBegun)
  gates[2]!.resolve()
  await fourth
  expect(await works[2]).toBe(2)
})
