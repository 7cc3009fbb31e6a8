import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildBundle } from '../../scripts/build.ts'

let folder: string

beforeAll(async () => {
  // Far from any node_modules, so that what is missing in the bundle is missed.
  folder = await mkdtemp(join(tmpdir(), 'bundle-'))
  await buildBundle(folder)
})

afterAll(() => rm(folder, { recursive: true }))

const runNode = (args: string[], variables: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, args, {
    cwd: folder,
    env: { OPENSEED_HOME: join(folder, 'home'), ...variables },
  })
const bundle = () => join(folder, 'openseed.js')

test('crash points are not in the bundle', async () => {
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.js'))) {
    expect(await readFile(join(folder, file), 'utf8')).not.toContain('OPENSEED_CRASH_AT')
  }
})

test('the bundle runs where there is nothing else', async () => {
  const { stdout } = await runNode([bundle(), 'wallet', 'create', '--json'], { OPENSEED_PASSWORD: 'hush' })
  expect(Object.keys(JSON.parse(stdout) as object)).toEqual([
    'payer',
    'buyer-authorizer',
    'seller-authorizer',
  ])
  expect((await runNode([bundle()])).stdout).toContain('network base-sepolia')
})

test('a failure ends the process with the code of its kind', async () => {
  await expect(runNode([bundle(), 'config', '--network', 'x', '--json'])).rejects.toMatchObject({
    code: 3,
    stderr: '',
  })
})
