/** The single executable, alone: no Node on PATH, an empty HOME, one streamed request paid on a real EVM. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildExecutable } from '../../scripts/build-bin.ts'
import { asAddress } from '../../src/wire/hex.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startCommand } from '../fixtures/command.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'

let folder: string
let executable: string
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openseed-alone-'))
  executable = await buildExecutable(folder)
  await mkdir(join(folder, 'empty'))
  ;[chain, engine] = await Promise.all([openTestChain(), startScriptedEngine()])
}, 120_000)

afterAll(async () => {
  await engine?.close()
  await chain?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const environment = (home: string) => ({
  HOME: home,
  PATH: join(folder, 'empty'),
  OPENSEED_NETWORK: 'local',
  OPENSEED_RPC_URLS: chain.url,
  OPENSEED_PASSWORD: 'hush',
})

async function openHome(
  name: string,
): Promise<{ env: Record<string, string>; keys: Record<string, string> }> {
  const home = join(folder, name)
  await mkdir(home)
  const env = environment(home)
  const { stdout } = await promisify(execFile)(executable, ['wallet', 'create', '--json'], {
    env,
    cwd: folder,
  })
  return { env, keys: JSON.parse(stdout) as Record<string, string> }
}

test('sell and buy from one file pay a streamed request and leave no money unaccounted', async () => {
  const [sellHome, buyHome] = await Promise.all([openHome('sell'), openHome('buy')])
  await chain.fund([
    { address: asAddress(buyHome.keys['payer']), usdc: 5_000_000n },
    { address: asAddress(sellHome.keys['seller-authorizer']), eth: 10n ** 18n },
  ])
  const sellArgs = ['sell', '--engine', engine.url, '--listen', '127.0.0.1:0', '--json']
  await using seller = startCommand(executable, sellArgs, sellHome.env, folder)
  const { url } = await seller.ready
  const buyArgs = ['buy', '--seller', String(url), '--port', '0', '--json']
  await using buyer = startCommand(executable, buyArgs, buyHome.env, folder)
  const { baseUrl } = await buyer.ready

  const client = new OpenAI({ baseURL: String(baseUrl), apiKey: 'any' })
  const stream = await client.chat.completions.create({
    model: 'test-model',
    stream: true,
    max_tokens: 100,
    messages: [{ role: 'user', content: 'tokens=25' }],
  })
  let pieces = 0
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) pieces++
  expect(pieces).toBe(25)

  buyer.child.kill('SIGINT')
  expect(await buyer.ended).toMatchObject({ signal: null })
  seller.child.kill('SIGINT')
  expect(await seller.ended).toMatchObject({ signal: null })
  const list = await promisify(execFile)(executable, ['channels', 'list', '--json'], {
    env: buyHome.env,
    cwd: folder,
  })
  const [channel] = (JSON.parse(list.stdout) as { channels: { charged: string }[] }).channels
  const earned = await chain.escrow.tokenBalance(asAddress(sellHome.keys['seller-authorizer']))
  expect(earned).toBeGreaterThan(0n)
  expect(channel?.charged).toBe(earned.toString())
}, 60_000)
