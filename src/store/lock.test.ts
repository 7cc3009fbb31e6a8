import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lockRole } from './lock.ts'
import { testHome } from './samples.ts'

const lockModule = JSON.stringify(new URL('lock.ts', import.meta.url).href)

/** Another process that takes the lock and keeps it until it is killed. */
async function holdInProcess(dir: string) {
  const script = `
    import { lockRole } from ${lockModule}
    globalThis.lock = lockRole(${JSON.stringify(dir)}, 'seller')
    process.stdout.write('locked')
    setInterval(() => {}, 60_000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('a second process is refused by name, and gets the lock when the first is killed', async () => {
  using home = testHome()
  const first = await holdInProcess(home.dir)
  expect(() => lockRole(home.dir, 'seller')).toThrow(
    expect.objectContaining({
      code: 'home_locked',
      message: expect.stringContaining(`process ${first.pid}`),
      details: { pid: first.pid },
    }),
  )
  first.kill('SIGKILL')
  await once(first, 'exit')
  lockRole(home.dir, 'seller').release()
})

test('buyer and seller share a home', () => {
  using home = testHome()
  using buyer = lockRole(home.dir, 'buyer')
  using seller = lockRole(home.dir, 'seller')
  expect([buyer, seller]).toHaveLength(2)
})

test('the same process cannot take a lock twice, and a refused try does not loosen it', async () => {
  using home = testHome()
  using lock = lockRole(home.dir, 'seller')
  const refused = expect.objectContaining({ code: 'home_locked', details: { pid: process.pid } })
  expect(() => lockRole(home.dir, 'seller')).toThrow(refused)
  expect(() => lockRole(home.dir, 'seller')).toThrow(refused)
  const rival = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    `import { lockRole } from ${lockModule}
     try { lockRole(${JSON.stringify(home.dir)}, 'seller') } catch (error) { process.exitCode = error.code === 'home_locked' ? 42 : 1 }`,
  ])
  expect(await once(rival, 'exit')).toEqual([42, null])
  lock.release()
  lockRole(home.dir, 'seller').release()
})

test('a pid file left by a dead process names nobody', () => {
  using home = testHome()
  using lock = lockRole(home.dir, 'seller')
  writeFileSync(join(home.dir, 'seller.pid'), JSON.stringify({ pid: 2 ** 22 + 1, startedAtMs: 0 }))
  expect(() => lockRole(home.dir, 'seller')).toThrow('another process that has just started')
  lock.release()
})

test('folder and lock file are readable by their owner alone', () => {
  using home = testHome()
  const dir = join(home.dir, 'nested')
  using lock = lockRole(dir, 'buyer')
  expect(lock).toBeDefined()
  expect(statSync(dir).mode & 0o777).toBe(0o700)
  expect(statSync(join(dir, 'buyer.lock')).mode & 0o777).toBe(0o600)
})
