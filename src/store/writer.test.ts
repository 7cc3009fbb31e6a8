import { once } from 'node:events'
import { statSync, writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test, vi } from 'vitest'
import { workerEntry } from '../base/assets.ts'
import type { SellerOperations } from './operations.ts'
import { openFile } from './open.ts'
import { openReader } from './reader.ts'
import { channelId, hex32, sellerChannel, sellerRequest, testHome } from './samples.ts'
import { openWriter, Writer } from './writer.ts'

const failOnFatal = (error: Error) => {
  throw error
}
const openSeller = (path: string) => openWriter({ path, schema: 'seller', onFatal: failOnFatal })

test('a write is committed when its promise resolves: another connection sees it', async () => {
  using home = testHome()
  await using writer = await openSeller(home.path)
  await writer.run('saveChannel', { channel: sellerChannel() })
  using reader = openReader(home.path, 'seller')
  expect(reader?.read('loadChannels')).toEqual([sellerChannel({ openRequests: [] })])
})

test('two hundred concurrent writes share a few commits', async () => {
  using home = testHome()
  await using writer = await openSeller(home.path)
  await writer.run('saveChannel', { channel: sellerChannel({ signed: 1_000_000n }) })
  const before = writer.stats()
  let rev = 1
  const admits = Array.from({ length: 200 }, async (_, n) => {
    // Spread over several turns, as requests from sockets are.
    for (let turn = 0; turn < n % 10; turn += 1) await new Promise(setImmediate)
    const channel = sellerChannel({ signed: 1_000_000n, rev: (rev += 1) })
    await writer.run('admit', { channel, request: sellerRequest({ id: hex32(1000 + n) }) })
  })
  await Promise.all(admits)
  const after = writer.stats()
  expect(after.ops - before.ops).toBe(200)
  expect(after.groups - before.groups).toBeLessThanOrEqual(20)
  expect((await writer.read('loadChannel', { channelId }))?.openRequests).toHaveLength(200)
})

test('a write that fails is undone alone: its group is committed without it', async () => {
  using home = testHome()
  await using writer = await openSeller(home.path)
  const saved = { first: { key: 'first', value: '1' }, last: { key: 'last', value: '2' } }
  const outcomes = await Promise.allSettled([
    writer.run('setMeta', saved.first),
    writer.run('saveChannel', { channel: sellerChannel({ rev: 7 }) }),
    writer.run('saveChannel', { channel: sellerChannel({ signed: -1n }) }),
    writer.run('setMeta', saved.last),
  ])
  expect(outcomes).toMatchObject([
    { status: 'fulfilled' },
    { reason: { code: 'store_unavailable' } },
    { reason: { code: 'store_conflict', details: { reason: 'invariant' } } },
    { status: 'fulfilled' },
  ])
  expect(writer.stats().groups).toBe(1)
  expect(await writer.read('getMeta', { key: 'last' })).toBe('2')
  expect(await writer.read('loadChannels')).toEqual([])
})

test('a query sees every write that was called before it', async () => {
  using home = testHome()
  await using writer = await openSeller(home.path)
  const write = writer.run('setMeta', { key: 'k', value: 'v' })
  expect(await writer.read('getMeta', { key: 'k' })).toBe('v')
  await write
})

test('closing commits what was called before, and refuses what comes after', async () => {
  using home = testHome()
  const writer = await openSeller(home.path)
  const last = writer.run('setMeta', { key: 'k', value: 'v' })
  const closing = writer.close()
  await expect(writer.run('setMeta', { key: 'k', value: 'late' })).rejects.toMatchObject({
    code: 'shutting_down',
  })
  await Promise.all([last, closing, writer.close()])
  using reader = openReader(home.path, 'seller')
  expect(reader?.read('getMeta', { key: 'k' })).toBe('v')
})

test('a thread that dies fails what waits for it and is reported once', async () => {
  using home = testHome()
  const entry = workerEntry('writer')
  const worker = new Worker(entry.source, { workerData: { path: home.path, schema: 'seller' } })
  await once(worker, 'message')
  const reported: Error[] = []
  const writer = new Writer<SellerOperations>(worker, (error) => reported.push(error))
  const waiting = writer.run('setMeta', { key: 'k', value: 'v' })
  void worker.terminate()
  await expect(waiting).rejects.toMatchObject({ code: 'store_unavailable' })
  await expect(writer.run('setMeta', { key: 'k', value: 'v' })).rejects.toMatchObject({
    code: 'store_unavailable',
  })
  await writer.close()
  expect(reported).toMatchObject([{ code: 'store_unavailable' }])
})

test('a thread that does not answer is given up with the cause', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const hanging = new Worker('setInterval(() => {}, 60_000)', { eval: true })
  const reported: Error[] = []
  const writer = new Writer<SellerOperations>(hanging, (error) => reported.push(error))
  const waiting = writer.run('setMeta', { key: 'k', value: 'v' })
  // The calls leave in a microtask, and only then does the clock of the wait start.
  await Promise.resolve()
  await Promise.all([
    expect(waiting).rejects.toThrow('the disk did not answer for 30 seconds'),
    vi.advanceTimersByTimeAsync(30_000),
  ])
  expect(reported).toMatchObject([{ code: 'store_unavailable' }])
})

test('a file that is no database is refused with a clear error', async () => {
  using home = testHome()
  writeFileSync(home.path, 'not a database, but long enough to be read as the header of one '.repeat(9))
  await expect(openSeller(home.path)).rejects.toMatchObject({ code: 'store_unavailable' })
})

test('a database of a newer openseed is refused', async () => {
  using home = testHome()
  await (await openSeller(home.path)).close()
  const db = openFile(home.path, { readonly: false, timeoutMs: 0 })
  db.pragma('user_version = 999')
  db.close()
  await expect(openSeller(home.path)).rejects.toMatchObject({ code: 'store_newer' })
  expect(() => openReader(home.path, 'seller')).toThrow(expect.objectContaining({ code: 'store_newer' }))
})

test('the database is readable by its owner alone, its log included', async () => {
  using home = testHome()
  await using writer = await openSeller(home.path)
  await writer.run('setMeta', { key: 'k', value: 'v' })
  const modes = ['', '-wal', '-shm'].map((suffix) => statSync(home.path + suffix).mode & 0o777)
  expect(modes).toEqual([0o600, 0o600, 0o600])
})

test('a reader of a home where the role never ran finds nothing', () => {
  using home = testHome()
  expect(openReader(home.path, 'buyer')).toBeNull()
})

test('a reader cannot write', async () => {
  using home = testHome()
  await (await openSeller(home.path)).close()
  using reader = openReader(home.path, 'seller')
  expect(reader?.read('totals')).toEqual({ charged: 0n, claimed: 0n, requests: 0 })
  expect(reader).not.toHaveProperty('run')
})
