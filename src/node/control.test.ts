import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { callControl, openControl } from './control.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openseed-control-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const { signal } = new AbortController()

test('a question reaches the running role and its answer comes back', async () => {
  await using _ = await openControl(folder, { double: async ({ n }) => ({ n: Number(n) * 2 }) })
  expect(await callControl(folder, 'double', { n: 21 }, signal)).toEqual({ value: { n: 42 } })
})

test('only the owner may open the socket', async () => {
  await using _ = await openControl(folder, {})
  expect((await stat(join(folder, 'control.sock'))).mode & 0o777).toBe(0o600)
})

test('an error of the role is the error of the caller', async () => {
  const thrown = new OpenSeedError('channel_not_found', { message: 'none', hint: 'look', details: { a: 1 } })
  await using _ = await openControl(folder, { fail: () => Promise.reject(thrown) })
  await expect(callControl(folder, 'fail', {}, signal)).rejects.toMatchObject({
    code: 'channel_not_found',
    message: 'none',
    hint: 'look',
    details: { a: 1 },
  })
  await expect(callControl(folder, 'toString', {}, signal)).rejects.toMatchObject({ code: 'not_found' })
})

test('without a running role the answer is null, whatever a killed one left behind', async () => {
  expect(await callControl(folder, 'x', {}, signal)).toBeNull()
  const control = await openControl(folder, {})
  await control.close()
  expect(await callControl(folder, 'x', {}, signal)).toBeNull()
  await writeFile(join(folder, 'control.sock'), '')
  expect(await callControl(folder, 'x', {}, signal)).toBeNull()
  await using _ = await openControl(folder, { x: async () => 1 })
  expect(await callControl(folder, 'x', {}, signal)).toEqual({ value: 1 })
})

test('a folder with a long path has its socket elsewhere', async () => {
  const long = join(folder, 'x'.repeat(120))
  await using _ = await openControl(long, { x: async () => 1 })
  expect(await callControl(long, 'x', {}, signal)).toEqual({ value: 1 })
})

test('a role that closes answers what still runs with an error', async () => {
  const asked = Promise.withResolvers<void>()
  const control = await openControl(folder, {
    wait: (_params, stop) => {
      asked.resolve()
      return new Promise((_, reject) => stop.addEventListener('abort', () => reject(stop.reason)))
    },
  })
  const answer = callControl(folder, 'wait', {}, signal).catch((error: unknown) => error)
  await asked.promise
  await control.close()
  expect(await answer).toMatchObject({ code: 'shutting_down' })
})
