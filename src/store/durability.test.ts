/** The store under what really happens: killed processes and disks that take no more bytes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { openReader } from './reader.ts'
import { channelId, testHome } from './samples.ts'
import { openWriter } from './writer.ts'

const importOf = (file: string) => JSON.stringify(new URL(file, import.meta.url).href)
const imports = `
  import { writeSync } from 'node:fs'
  import { openWriter } from ${importOf('writer.ts')}
  import { hex32, sellerChannel, sellerRequest } from ${importOf('samples.ts')}
  const [path] = process.argv.slice(1)
  const writer = await openWriter({ path, schema: 'seller', onFatal: (error) => { throw error } })
`
const nodeArgs = (script: string, path: string) => ['--input-type=module', '-e', imports + script, path]

/** Admits requests for ever, eight at a time, and reports each one after its commit. */
const admitForever = `
  let rev = 1
  let next = 1
  const signed = 10n ** 12n
  await writer.run('saveChannel', { channel: sellerChannel({ signed }) })
  async function admitAll() {
    for (;;) {
      const n = (next += 1)
      const channel = sellerChannel({ signed, rev: (rev += 1) })
      await writer.run('admit', { channel, request: sellerRequest({ id: hex32(n) }) })
      writeSync(1, hex32(n) + '\\n')
    }
  }
  await Promise.all(Array.from({ length: 8 }, admitAll))
`

test('every write that was acknowledged before kill -9 is there after it', async () => {
  using home = testHome()
  const child = spawn(process.execPath, nodeArgs(admitForever, home.path), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const acknowledged: string[] = []
  for await (const id of createInterface(child.stdout)) {
    acknowledged.push(id)
    if (acknowledged.length === 150) child.kill('SIGKILL')
  }
  await using writer = await openWriter({ path: home.path, schema: 'seller', onFatal: () => {} })
  const channel = await writer.read('loadChannel', { channelId })
  const stored = (channel?.openRequests ?? []).map(({ id }) => id as string)
  expect(acknowledged.length).toBeGreaterThanOrEqual(150)
  expect(acknowledged.filter((id) => !stored.includes(id))).toEqual([])
  expect(channel?.rev).toBe(stored.length + 1)
})

test.for(['store.commit', 'store.committed'])(
  'a process killed at %s leaves whole groups only',
  async (point) => {
    using home = testHome()
    await (await openWriter({ path: home.path, schema: 'seller', onFatal: () => {} })).close()
    const script = `
    await Promise.all([
      writer.run('setMeta', { key: 'a', value: '1' }),
      writer.run('setMeta', { key: 'b', value: '2' }),
    ])
    writeSync(1, 'acknowledged')`
    const child = spawn(process.execPath, nodeArgs(script, home.path), {
      env: { ...process.env, OPENSEED_CRASH_AT: point },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const output: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
    expect(Buffer.concat(output).toString()).toBe('')
    using reader = openReader(home.path, 'seller')
    const values = ['a', 'b'].map((key) => reader?.read('getMeta', { key }))
    expect(values).toEqual(point === 'store.commit' ? [null, null] : ['1', '2'])
  },
)

/** One group that fits, one that does not, and one that fits again. */
const fillTheDisk = `
  const outcome = (work) => work.then(() => 'committed', (error) => error.code)
  const big = 'x'.repeat(3_000_000)
  const set = (key, value) => outcome(writer.run('setMeta', { key, value }))
  const before = await Promise.all([set('before', '1')])
  const full = await Promise.all([set('beside', '2'), set('big', big), set('behind', '3')])
  const after = await Promise.all([set('after', '4'), outcome(writer.read('getMeta', { key: 'before' }))])
  await writer.close()
  writeSync(1, JSON.stringify({ before, full, after }))
`

test.skipIf(process.platform === 'win32')(
  'a disk that takes no more bytes refuses the whole group, and the writer works on',
  async () => {
    using home = testHome()
    // The kernel refuses to let any file of this process grow beyond 2 MiB (the unit is 512 or 1024 bytes).
    const limited = [
      '-c',
      'ulimit -f 2048; exec "$@"',
      'sh',
      process.execPath,
      ...nodeArgs(fillTheDisk, home.path),
    ]
    const child = spawn('bash', limited, { stdio: ['ignore', 'pipe', 'inherit'] })
    const output: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    await once(child, 'close')
    expect(JSON.parse(Buffer.concat(output).toString())).toEqual({
      before: ['committed'],
      full: ['store_unavailable', 'store_unavailable', 'store_unavailable'],
      after: ['committed', 'committed'],
    })
    using reader = openReader(home.path, 'seller')
    const kept = ['before', 'beside', 'big', 'behind', 'after'].map((key) => reader?.read('getMeta', { key }))
    expect(kept).toEqual(['1', null, null, null, '4'])
  },
)
