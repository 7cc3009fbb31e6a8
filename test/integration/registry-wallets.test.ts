/** Wallets that are contracts: only the chain knows what they vouch for, and it is not to be asked by anybody's leave. */
import { expect, test } from 'vitest'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { announcedSeller } from '../fixtures/announced-seller.ts'
import { startRegistry } from '../fixtures/registry.ts'

test('a wallet that is a contract is asked once for its word, and many strangers do not have the chain asked without end', async () => {
  const nowMs = 1_900_000_000_000
  let asked = 0
  let answer: () => Promise<boolean> = async () => true
  const isValidSignature = () => {
    asked += 1
    return answer()
  }
  await using registry = await startRegistry({ isValidSignature, now: () => nowMs })
  const { client } = registry
  const ofContract = (number: number) => {
    const seller = announcedSeller(number, nowMs)
    return { seller, binding: { ...seller.binding, signature: `0x${'ab'.repeat(40)}` as const } }
  }
  const { seller, binding } = ofContract(20)
  answer = () => Promise.reject(new Error('no chain'))
  expect(await client.register(seller.record(), binding)).toMatchObject({ reason: 'binding_unchecked' })
  answer = async () => true
  for (let renewed = 0; renewed < 3; renewed += 1)
    expect(await client.register(seller.record(), binding)).toEqual({ status: 'ok' })
  expect(asked).toBe(2)

  answer = async () => false
  expect(
    await client.register(seller.record(), { ...binding, signature: `0x${'cd'.repeat(40)}` }),
  ).toMatchObject({ reason: 'binding_forged' })
  const reasons = new Set<unknown>()
  const strange = ofContract(21)
  for (let at = 0; at < 250; at += 1)
    reasons.add(
      await client
        .register(strange.seller.record(), strange.binding)
        .then((told) => 'reason' in told && told.reason),
    )
  expect(reasons).toEqual(new Set(['binding_forged', 'binding_unchecked']))
  expect(asked).toBe(200)
  expect(await client.register(seller.record(), binding)).toEqual({ status: 'ok' })
})

test('what no wallet has signed costs who sends it more than a request', async () => {
  const nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ requestsPerSec: 20, now: () => nowMs })
  const seller = announcedSeller(22, nowMs)
  const binding = { ...seller.binding, signature: announcedSeller(23, nowMs).binding.signature }
  const body = `{"record":${encodeRecord(seller.record())},"binding":${JSON.stringify(encodeBinding(binding))}}`
  const reply = await fetch(`${registry.url}/v1/sellers`, { method: 'POST', body })
  expect(await reply.json()).toMatchObject({ reason: 'binding_forged' })
  expect(reply.headers.get('ratelimit-remaining')).toBe('89')
})
