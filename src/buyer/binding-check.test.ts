import { expect, test, vi } from 'vitest'
import { announcedSeller, network } from '../../test/fixtures/announced-seller.ts'
import { silentLog } from '../base/log.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { IsValidSignature } from '../wire/peer-binding.ts'
import { openBindingCheck } from './binding-check.ts'
import { patient } from '../../test/fixtures/patient.ts'

const seller = announcedSeller(1)
const other = announcedSeller(2)
/** Signed by somebody whom only a contract could take for the wallet. */
const odd = { ...seller.binding, signature: other.binding.signature }

const fresh = (onValid: () => void) => ({ isKnown: false, onValid })

const checkWith = (isValidSignature?: IsValidSignature) =>
  openBindingCheck({
    digests: openDigests(network),
    curve,
    isValidSignature,
    now: Date.now,
    log: silentLog,
  })

test('the signature of a key is judged at once, and the chain is not asked', async () => {
  const ask = vi.fn<IsValidSignature>()
  const check = checkWith(ask)
  expect(
    await check.isValid(
      seller.binding,
      seller.record(),
      fresh(() => {}),
    ),
  ).toBe(true)
  expect(
    await check.isValid(
      other.binding,
      seller.record(),
      fresh(() => {}),
    ),
  ).toBe(false)
  expect(ask).not.toHaveBeenCalled()
})

test("a contract's word is asked for in the background, once, and remembered", async () => {
  const answer = Promise.withResolvers<boolean>()
  const ask = vi.fn<IsValidSignature>(() => answer.promise)
  const check = checkWith(ask)
  const told = Array.from({ length: 2 }, () => Promise.withResolvers<void>())
  for (const { resolve } of told)
    expect(await check.isValid(odd, seller.record(), fresh(resolve))).toBe(false)
  answer.resolve(true)
  await Promise.all(told.map(({ promise }) => promise))
  expect(
    await check.isValid(
      odd,
      seller.record(),
      fresh(() => {}),
    ),
  ).toBe(true)
  expect(ask).toHaveBeenCalledTimes(1)
})

test('what a contract refuses stays refused', async () => {
  const ask = vi.fn<IsValidSignature>(async () => false)
  const check = checkWith(ask)
  expect(
    await check.isValid(
      odd,
      seller.record(),
      fresh(() => expect.unreachable()),
    ),
  ).toBe(false)
  await vi.waitUntil(() => ask.mock.results.length === 1, patient)
  expect(
    await check.isValid(
      odd,
      seller.record(),
      fresh(() => expect.unreachable()),
    ),
  ).toBe(false)
  expect(ask).toHaveBeenCalledTimes(1)
})

test('without a chain, contracts cannot vouch', async () => {
  expect(
    await checkWith().isValid(
      odd,
      seller.record(),
      fresh(() => expect.unreachable()),
    ),
  ).toBe(false)
})

test('a chain that does not answer is asked again', async () => {
  const ask = vi.fn<IsValidSignature>(async () => true).mockRejectedValueOnce(new Error('down'))
  const check = checkWith(ask)
  const told = Promise.withResolvers<void>()
  await check.isValid(odd, seller.record(), fresh(told.resolve))
  await told.promise
  expect(ask).toHaveBeenCalledTimes(2)
  check.close()
})

test('what was verified before is judged by its time alone', async () => {
  const known = { isKnown: true, onValid: () => expect.unreachable() }
  expect(await checkWith().isValid(odd, seller.record(), known)).toBe(true)
  const late = openBindingCheck({
    digests: openDigests(network),
    curve,
    now: () => (seller.binding.notAfterSec + 121) * 1000,
    log: silentLog,
  })
  expect(await late.isValid(odd, seller.record(), known)).toBe(false)
  expect(await checkWith().isValid(other.binding, seller.record(), known)).toBe(false)
})
