import { execFile } from 'node:child_process'
import { chmod, glob, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
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
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
})

afterAll(() => rm(folder, { recursive: true }))

const runNode = (args: string[], variables: Record<string, string> = {}) =>
  promisify(execFile)(process.execPath, args, {
    cwd: folder,
    env: { OPENSEED_HOME: join(folder, 'home'), XDG_CACHE_HOME: join(folder, 'cache'), ...variables },
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

test('no part imports what Node has, which would load more of it than is used', async () => {
  for await (const file of glob('*.js', { cwd: folder })) {
    const code = await readFile(join(folder, file), 'utf8')
    const imported = Array.from(
      code.matchAll(/^(?:import|export)\b[^;"]*"([^"]+)";$/gm),
      ([, from = '']) => from,
    )
    expect(imported.filter((from) => isBuiltin(from))).toEqual([])
  }
})

test('compiled code is kept where only its user can write, and garbage there changes nothing', async () => {
  const cache = join(folder, 'cache-of-one')
  const run = () => runNode([bundle(), 'version'], { XDG_CACHE_HOME: cache })
  const { stdout } = await run()
  const kept = join(cache, 'openseed', 'compiled')
  expect((await stat(kept)).mode & 0o777).toBe(0o700)
  const files = await Array.fromAsync(glob('**/*', { cwd: kept, withFileTypes: true }))
  const parts = files.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  expect(parts.length).toBeGreaterThan(0)
  for (const part of parts) await writeFile(part, 'garbage')
  expect((await run()).stdout).toBe(stdout)
})

test('a cache that others may write to is left alone', async () => {
  const cache = join(folder, 'cache-of-all')
  await mkdir(join(cache, 'openseed', 'compiled'), { recursive: true })
  await chmod(join(cache, 'openseed'), 0o777)
  await runNode([bundle(), 'version'], { XDG_CACHE_HOME: cache, TMPDIR: folder })
  expect(await readdir(join(cache, 'openseed', 'compiled'))).toEqual([])
})

test('without any folder to write to, a command works all the same', async () => {
  const variables = { XDG_CACHE_HOME: '/dev/null/none', TMPDIR: '/dev/null/none' }
  expect((await runNode([bundle(), 'version'], variables)).stdout).toMatch(/^openseed /)
})

test('every part finds in the others what it takes from them, and what is needed together is in one file', async () => {
  const names = await Array.fromAsync(glob('{part-*,start,config,search}.js', { cwd: folder }))
  expect(names.length).toBeGreaterThan(50)
  const code = `for (const name of ${JSON.stringify(names)}) await import('./' + name)`
  await runNode(['--input-type=module', '-e', code])
  for (const name of ['start.js', 'config.js', 'search.js']) {
    const imports = (await readFile(join(folder, name), 'utf8')).matchAll(/^import\b[^;]*?"\.\/([^"]+)";$/gm)
    expect(Array.from(imports, ([, from]) => from)).not.toContainEqual(expect.stringMatching(/^part-/))
  }
})
