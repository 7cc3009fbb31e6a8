import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { loadAddon, nativeAddonPath, workerEntry } from './assets.ts'

test('the SQLite addon of this platform is found and loads', () => {
  expect(existsSync(nativeAddonPath('better_sqlite3'))).toBe(true)
  expect(loadAddon('better_sqlite3')).toHaveProperty('Database')
})

test('an addon loads in a worker thread too', async () => {
  const assets = JSON.stringify(new URL('assets.ts', import.meta.url).href)
  const code = `
    import(${assets}).then(({ loadAddon }) =>
      require('node:worker_threads').parentPort.postMessage(Object.keys(loadAddon('better_sqlite3'))))`
  const worker = new Worker(code, { eval: true })
  const [names] = (await once(worker, 'message')) as [string[]]
  expect(names).toContain('Database')
})

test.each(['writer', 'recount'] as const)(
  'the %s thread starts from its source file when nothing is bundled',
  (name) => {
    const { source, options } = workerEntry(name)
    expect(existsSync(source as URL)).toBe(true)
    expect(options).toEqual({})
  },
)
