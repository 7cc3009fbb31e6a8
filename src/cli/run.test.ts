import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { errorCodes } from '../base/error-codes.ts'
import { openKeystore } from '../node/keystore.ts'
import { main } from './run.ts'

// Making a wallet as users do costs most of a second of work on purpose.
vi.setConfig({ testTimeout: 30_000 })

const devKey = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80'
const devAddress = '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266'

let home: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cli-'))
})

afterEach(() => rm(home, { recursive: true }))

interface Setting {
  variables?: Record<string, string>
  stdin?: string
  /** Replies to questions; there is a terminal when given. */
  typed?: string[]
  signal?: AbortSignal
}

async function run(line: string, { variables = {}, stdin = '', typed, signal }: Setting = {}) {
  const terminal = typed !== undefined
  const input = Object.assign(new PassThrough(), { isTTY: terminal })
  const replies = [...(typed ?? [])]
  if (!terminal) input.end(stdin)
  const output = { stdout: '', stderr: '' }
  const collect = (name: keyof typeof output) =>
    Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          output[name] += String(chunk)
          // Whoever is asked answers.
          const reply = /(: |\] )$/.test(String(chunk)) ? replies.shift() : undefined
          if (reply !== undefined) setImmediate(() => input.write(`${reply}\n`))
          done()
        },
      }),
      { isTTY: terminal },
    )
  const code = await main(line.split(' ').filter(Boolean), {
    stdin: input,
    stdout: collect('stdout'),
    stderr: collect('stderr'),
    variables: { OPENSEED_HOME: home, ...variables },
    signal: signal ?? new AbortController().signal,
  })
  return { code, stdout: output.stdout, stderr: stripVTControlCharacters(output.stderr) }
}

/** A wallet that opens fast. */
const makeWallet = (password = 'hush') =>
  openKeystore(join(home, 'keystore'), { scryptN: 1024 }).create(password)

const withPassword = { variables: { OPENSEED_PASSWORD: 'hush' } }

test('openseed alone says what it is, how things stand and one next step', async () => {
  const { code, stdout, stderr } = await run('')
  expect(code).toBe(0)
  expect(stdout).toMatch(/network base-sepolia, wallet none yet\nnext: openseed wallet create\n$/)
  expect(stderr).toBe('')
  expect(JSON.parse((await run('--json')).stdout)).toMatchObject({ wallet: null, network: 'base-sepolia' })
})

test('help goes to stdout and names every global flag', async () => {
  const { code, stdout } = await run('wallet create --help')
  expect(code).toBe(0)
  for (const flag of ['--home', '--network', '--json', '--quiet', '--yes', '--no-color', '--debug']) {
    expect(stdout).toContain(flag)
  }
})

test.each([
  ['walet show', 'Did you mean wallet?'],
  ['wallet shwo', 'Did you mean wallet show?'],
  ['config list --jsno', 'Did you mean --json?'],
])('%s is a usage error with a suggestion', async (line, suggestion) => {
  const { code, stdout, stderr } = await run(line)
  expect(code).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toContain(`fix  ${suggestion}`)
  expect(stderr).toContain('code usage')
})

test('under --json an error is one JSON value on stdout and stderr is silent', async () => {
  for (const line of [
    'wallet show --json',
    '--json walet',
    'wallet export --json',
    'config --json --network x',
  ]) {
    const { code, stdout, stderr } = await run(line)
    expect(code).toBeGreaterThan(0)
    expect(stderr).toBe('')
    const { error } = JSON.parse(stdout) as { error: { code: keyof typeof errorCodes; message: string } }
    expect(errorCodes[error.code].exit).toBe(code)
    expect(error.message).toMatch(/[.?]$/)
  }
})

test('the exit code tells what kind of failure it was', async () => {
  expect((await run('version')).code).toBe(0)
  expect((await run('version --nope')).code).toBe(2)
  expect((await run('config list --network nowhere')).code).toBe(3)
  expect((await run('wallet show')).code).toBe(4)
  expect((await run('wallet create', { typed: [], signal: AbortSignal.abort() })).code).toBe(130)
})

test('a wallet is made once, shown without a password and exported only after a yes', async () => {
  const created = await run('wallet create --json', withPassword)
  expect(created.code).toBe(0)
  const addresses = JSON.parse(created.stdout) as Record<string, string>
  expect(JSON.parse((await run('wallet show --json')).stdout)).toEqual(addresses)
  expect((await run('wallet')).stdout).toContain(addresses['payer'])
  expect((await run('wallet create', withPassword)).stderr).toContain('code wallet_exists')

  expect((await run('wallet export', withPassword)).stderr).toContain('code confirmation_needed')
  const exported = await run('wallet export --yes --json', withPassword)
  expect(JSON.parse(exported.stdout)).toMatchObject({
    name: 'payer',
    privateKey: expect.stringMatching(/^0x/) as string,
  })
})

test('a key is imported from a file or from stdin and comes out the same', async () => {
  await writeFile(join(home, 'key.txt'), `${devKey}\n`)
  const file = await run(`wallet import ${join(home, 'key.txt')} --json`, withPassword)
  expect(JSON.parse(file.stdout)).toMatchObject({ payer: devAddress })
  expect((await run('wallet export --yes', withPassword)).stdout).toBe(`${devKey}\n`)

  const second = join(home, 'second')
  const piped = await run(`wallet import --home ${second} --json`, { ...withPassword, stdin: devKey })
  expect(JSON.parse(piped.stdout)).toMatchObject({ payer: devAddress })
})

test('the password comes from a file, from stdin or from the keyboard', async () => {
  await writeFile(join(home, 'password'), 'hush\n')
  await makeWallet()
  const fromFile = await run('wallet export --yes', {
    variables: { OPENSEED_PASSWORD_FILE: join(home, 'password') },
  })
  const fromStdin = await run('wallet export --yes --password-stdin', { stdin: 'hush\nignored' })
  expect(fromStdin).toMatchObject({ code: 0, stdout: fromFile.stdout })
  const typed = await run('wallet export', { typed: ['y', 'hush'] })
  expect(typed.stdout).toBe(fromStdin.stdout)
  expect(typed.stderr).not.toContain('hush')
})

test('a wrong password and a missing one are told apart', async () => {
  await makeWallet()
  const wrong = await run('wallet export --yes', { variables: { OPENSEED_PASSWORD: 'wrong' } })
  expect(wrong).toMatchObject({ code: 4, stdout: '' })
  expect(wrong.stderr).toContain('code wallet_password_wrong')
  expect((await run('wallet export --yes')).stderr).toContain('code wallet_locked')
})

test('a typed password is asked for twice, and a difference makes no wallet', async () => {
  expect((await run('wallet create', { typed: ['one', 'two'] })).stderr).toContain(
    'The two passwords differ.',
  )
  expect(await readdir(home)).toEqual([])
  expect((await run('wallet create', { typed: ['one', 'one'] })).code).toBe(0)
})

test('nothing is asked in CI, even with a terminal', async () => {
  const { stderr } = await run('wallet create', { typed: ['one', 'one'], variables: { CI: 'true' } })
  expect(stderr).toContain('code wallet_locked')
})

test('config list shows each value with its origin and masks secrets', async () => {
  const { stdout } = await run('config list --network local', {
    variables: { OPENSEED_SELL_ENGINE_KEY: 'hush' },
  })
  expect(stdout).toMatch(/^network +local +--network$/m)
  expect(stdout).toMatch(/^sell\.engine_key +\*+ +OPENSEED_SELL_ENGINE_KEY$/m)
  expect(stdout).not.toContain('hush')
})

test('a seller without an engine ends with the code of that failure', async () => {
  await makeWallet()
  const { code, stdout, stderr } = await run(
    'sell --network local --engine http://127.0.0.1:1 --json',
    withPassword,
  )
  expect(code).toBe(8)
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'engine_unavailable' } })
  expect(stderr).toBe('')
})

test('completion knows every command, in each shell', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await run(`completion ${shell}`)
    expect(code).toBe(0)
    for (const word of ['wallet', 'export', 'completion', 'password-stdin']) expect(stdout).toContain(word)
  }
  expect((await run('completion tcsh')).code).toBe(2)
})
