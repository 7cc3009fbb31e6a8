/** Registries by their own signed words: what each says of itself, and how a client of one learns of others. */
import { randomBytes } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { startRegistry } from '../fixtures/registry.ts'
import { patient } from '../fixtures/patient.ts'

test('a registry says where it is, signed by its own key', async () => {
  const key = nodeKeyOf(randomBytes(32))
  await using registry = await startRegistry({ key })
  expect(await registry.client.index()).toMatchObject({
    type: 'index',
    peer: key.peerId,
    body: { url: registry.url, addrs: [], build: 'openseed/test' },
  })
})

test('a registry tells its public URL, and none that would lead into a private network', async () => {
  await using named = await startRegistry({ allowPrivate: false, publicUrl: 'https://registry.example.com/' })
  expect((await named.client.index()).body.url).toBe('https://registry.example.com')
  await using unnamed = await startRegistry({ allowPrivate: false })
  expect((await unnamed.client.index()).body.url).toBeNull()
})

test('the record is renewed every 15 minutes, with a higher sequence', async () => {
  let nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const first = await registry.client.index()
  nowMs += 14 * 60_000
  expect(await registry.client.index()).toEqual(first)
  nowMs += 60_000
  expect((await registry.client.index()).seq).toBeGreaterThan(first.seq)
})

test('a client of one registry learns of those that this one exchanges with, and whom they know', async () => {
  await using far = await startRegistry()
  await using middle = await startRegistry({ peers: [far.url] })
  await vi.waitFor(async () => expect((await middle.client.indexes()).others).toHaveLength(1), patient)
  await using near = await startRegistry({ peers: [middle.url] })
  await vi.waitFor(async () => expect((await near.client.indexes()).others).toHaveLength(2), patient)
  const { others } = await near.client.indexes()
  expect(others).toEqual([await middle.client.index(), await far.client.index()])
})
