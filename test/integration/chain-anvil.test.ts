import { once } from 'node:events'
import { execa } from 'execa'
import { expect, test } from 'vitest'
import { startAnvil } from '../../src/chain/anvil.ts'
import { openRpc } from '../../src/chain/rpc.ts'

const isAlive = (pid: number) => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('anvil serves the chain id it was asked for and is gone once stopped', async () => {
  const anvil = await startAnvil({ chainId: 84_532 })
  await using rpc = openRpc({ urls: [anvil.url], chainId: 84_532, timeoutMs: 5000 })
  expect(Number(await rpc.send('eth_chainId'))).toBe(84_532)
  expect(isAlive(anvil.pid)).toBe(true)
  await anvil.stop()
  expect(isAlive(anvil.pid)).toBe(false)
  await anvil.stop()
})

test('anvil does not outlive a parent that is killed', async () => {
  const source = `import { startAnvil } from ${JSON.stringify(new URL('../../src/chain/anvil.ts', import.meta.url).href)}
    process.stdout.write(String((await startAnvil({ chainId: 31337 })).pid))`
  const parent = execa(process.execPath, ['--input-type=module', '-e', source], {
    reject: false,
    buffer: false,
  })
  const [pid] = (await once(parent.stdout, 'data')) as [Buffer]
  expect(isAlive(Number(pid))).toBe(true)
  parent.kill('SIGKILL')
  await parent
  await expect.poll(() => isAlive(Number(pid)), { timeout: 5000 }).toBe(false)
})

test('a port that is taken is a clear error', async () => {
  await using first = await startAnvil({ chainId: 31_337 })
  const port = Number(new URL(first.url).port)
  await expect(startAnvil({ chainId: 31_337, port })).rejects.toMatchObject({ code: 'chain_unavailable' })
})
