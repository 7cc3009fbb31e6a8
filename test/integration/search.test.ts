import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/config.ts'
import { readEnv } from '../../src/config/env.ts'
import type { RegistryNode } from '../../src/node/registry-node.ts'
import { buyerChannel, buyerRequest, channelId, hex32 } from '../../src/store/samples.ts'
import { openWriter } from '../../src/store/writer.ts'
import { recordModel } from '../fixtures/records.ts'
import {
  announce,
  runOpenseed,
  startHealthy,
  startTestRegistry,
  type HealthyServer,
} from '../fixtures/search-market.ts'

let home: string
let first: RegistryNode
let second: RegistryNode
let healthy: HealthyServer
const sellers: Record<string, string> = {}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'search-'))
  first = await startTestRegistry(901)
  second = await startTestRegistry(902)
  healthy = await startHealthy()
  const llama = (out: bigint) => recordModel({ id: 'llama-3.3-70b', in: 100_000n, out })
  sellers.cheap = await announce([first], 1, {
    models: [llama(300_000n)],
    region: 'eu-west',
    url: healthy.url,
  })
  sellers.dear = await announce([first, second], 2, {
    models: [llama(900_000n)],
    region: 'us',
    url: 'http://127.0.0.1:1',
  })
  sellers.omitted = await announce([second], 3, {
    models: [recordModel({ id: 'qwen-2.5-7b', out: 50_000n, ctx: 32_768 }), llama(500_000n)],
    region: null,
  })
})

afterAll(async () => {
  await healthy[Symbol.asyncDispose]()
  await second[Symbol.asyncDispose]()
  await first[Symbol.asyncDispose]()
  await rm(home, { recursive: true })
})

const registryFlags = () => ['--registry', first.url, '--registry', second.url]
const search = (...words: string[]) => runOpenseed(home, ['search', ...words, ...registryFlags()])

interface Answer {
  rows: Record<string, unknown>[]
  more: number
  registries: { url: string; sellers: number; error: string | null }[]
  explanation?: { total: number; filters: unknown[]; nearest: { command: string; finds: number } | null }
}

async function found(...words: string[]) {
  const { code, stdout, stderr } = await search(...words, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as Answer
}

test('what one registry omits another tells, and the cheapest comes first', async () => {
  const { rows, registries } = await found('llama')
  expect(rows.map(({ seller, out }) => [seller, out])).toEqual([
    [sellers.cheap, '300000'],
    [sellers.omitted, '500000'],
    [sellers.dear, '900000'],
  ])
  expect(registries.map(({ error }) => error)).toEqual([null, null])
})

test('conditions, options, order, columns and limit do what they say', async () => {
  expect((await found('llama', 'out<=$0.50', 'region=eu-west')).rows).toHaveLength(1)
  expect((await found('--max-price', '$0.30', '--min-ctx', '100k')).rows.map(({ seller }) => seller)).toEqual(
    [sellers.cheap, sellers.omitted, sellers.dear],
  )
  expect((await found('--region', 'us,asia')).rows.map(({ seller }) => seller)).toEqual([sellers.dear])
  const { rows, more } = await found('--sort', '-out', '--fields', 'model,out', '--limit', '2')
  expect(rows[0]).toEqual({ model: 'llama-3.3-70b', out: '900000', claimed: [], measured: [] })
  expect([rows.length, more]).toEqual([2, 2])
})

test('with --nodes each seller has one line', async () => {
  const { rows } = await found('--nodes')
  expect(rows).toHaveLength(3)
  expect(new Set(rows.map(({ seller }) => seller))).toEqual(new Set(Object.values(sellers)))
})

test('on paper claims carry a question mark and every column is there', async () => {
  const { stdout, stderr } = await search('llama')
  const [head, line] = stdout.split('\n')
  expect(head).toMatch(
    /^SELLER +MODEL +QUANT +CTX +IN\/1M +CACHED\/1M +OUT\/1M +TOK\/S +TTFT +OK +LOAD +REACH +REGION +RTT +HARDWARE +AGE$/,
  )
  expect(line).toMatch(/^12D3KooW\w{8} +llama-3.3-70b +fp8\? +128Ki +\$0.10 +\$0.015 +\$0.30 +42\? /)
  expect(stderr).toContain('? is only what the seller says of itself.')
})

test('in a narrow window words are cut and numbers are not', async () => {
  const { stdout } = await runOpenseed(home, ['search', 'llama', ...registryFlags(), '--no-color'], {
    columns: 44,
  })
  expect(stdout).toMatch(/^12D3KooW\w{8} +llama-3… +128Ki +\$0.10 +\$0.30 +42\? +direct\?$/m)
})

test('nothing found is explained, and the command that is offered finds something', async () => {
  const { stdout, code } = await search('llama', 'out<$0.10', '--region', 'us')
  expect(code).toBe(0)
  expect(stdout).toMatch(/FILTER +REMOVES +LEAVES +NOT KNOWN/)
  expect(stdout).toMatch(/out<\$0.10 +\d+ +0/)
  const { rows, explanation } = await found('llama', 'out<$0.10', '--region', 'us')
  expect(rows).toEqual([])
  expect(explanation!.nearest).toEqual({
    command: "openseed search llama 'out<=$0.90' 'region in us'",
    finds: 1,
  })
  expect((await found('llama', 'out<=$0.90', 'region in us')).rows).toHaveLength(1)
  const nodes = await found('--nodes', 'no-such-model')
  expect(nodes.explanation!.nearest).toEqual({ command: 'openseed search --nodes', finds: 3 })
})

test('a silent seller is left out until its state is asked for, and the explanation says so', async () => {
  let lateMs = 100_000
  await using registry = await startTestRegistry(903, () => Date.now() - lateMs)
  const silent = await announce([registry], 4, { models: [recordModel({ id: 'phi-4' })] }, null)
  lateMs = 0
  const ask = async (...words: string[]) => {
    const { stdout } = await runOpenseed(home, ['search', ...words, '--registry', registry.url, '--json'])
    return JSON.parse(stdout) as Answer
  }
  const { rows, explanation } = await ask('phi')
  expect(rows).toEqual([])
  expect(explanation).toEqual({
    total: 1,
    filters: [
      { filter: 'phi', removes: 0, unknown: 0, leaves: 1 },
      { filter: 'state=live', removes: 1, unknown: 0, leaves: 0 },
    ],
    nearest: { command: "openseed search phi 'state in live,stale'", finds: 1 },
  })
  const found = await ask('phi', 'state in live,stale')
  expect(found.rows).toMatchObject([{ seller: silent, state: 'stale', load: null }])
})

test('a typing error is shown where it is', async () => {
  const { code, stderr } = await search('llama', 'prcie<0.3')
  expect(code).toBe(2)
  expect(stderr).toContain('    llama prcie<0.3\n          ^^^^^\n')
  expect(stderr).toContain('fix  Did you mean price?')
})

test('what the buyer of this home saw of a seller itself comes before what registries saw', async () => {
  const own = await mkdtemp(join(tmpdir(), 'search-own-'))
  const { paths } = loadConfig(readEnv({}), { network: { flag: '--network', value: 'local' } }, own)
  await mkdir(paths.buyer, { recursive: true })
  {
    await using store = await openWriter({
      path: `${paths.buyer}/buyer.db`,
      schema: 'buyer',
      onFatal: () => {},
    })
    await store.run('saveChannel', { channel: buyerChannel() })
    for (const [at, outcome] of ['answered', 'learned', 'answered', 'answered'].entries()) {
      const request = buyerRequest({ id: hex32(50 + at), sellerUrl: `openseed://${sellers.cheap}` })
      const channel = (step: number) => buyerChannel({ rev: 2 * at + step, signed: 1_000n })
      await store.run('open', { channel: channel(2), request })
      const final = { channelId, id: request.id, charged: 0n, receipt: null, outcome, closedAtMs: 1 }
      await store.run('settleRequest', { channel: channel(3), request: final })
    }
  }
  const ask = (...words: string[]) => runOpenseed(own, ['search', ...words, ...registryFlags()])
  const shown = (await ask('show', sellers.cheap!)).stdout
  expect(shown).toMatch(/^success +75% +measured$/m)
  expect(shown).toMatch(/^you, in 4 requests +- +75% *$/m)
  const { measured } = JSON.parse((await ask('show', sellers.cheap!, '--json')).stdout) as {
    measured: { own: object }
  }
  expect(measured.own).toEqual({ asked: 4, answered: 3 })
  await rm(own, { recursive: true })
})

test('show tells everything about a seller and whether it is signed', async () => {
  const { stdout } = await search('show', sellers.omitted!.slice(0, 18))
  expect(stdout).toMatch(/^record +signed .*Z, ends .*Z +signature valid$/m)
  expect(stdout).toMatch(/^wallet +says so until .*Z +signature valid$/m)
  expect(stdout).toMatch(/^qwen-2.5-7b /m)
  expect(stdout).toContain(second.url)
  const { stdout: json } = await search('show', sellers.cheap!, '--json')
  expect(JSON.parse(json)).toMatchObject({
    seller: sellers.cheap,
    signatures: { record: 'valid', heartbeat: 'valid', binding: 'valid' },
    listedBy: [first.url],
  })
  const probed = await search('show', sellers.cheap!, '--probe')
  expect(probed.stdout).toMatch(/^rtt +\d+ms +measured$/m)
  expect((await search('show', '12D3KooWnobody')).stderr).toContain('code seller_not_found')
  expect((await search('show', '12D3')).stderr).toContain('Write more of the id.')
  const watched = await search('show', sellers.cheap!, '--watch')
  expect(watched).toMatchObject({ code: 2, stdout: '' })
  expect(watched.stderr).toContain('search show shows one seller: --watch is for lists.')
  const two = await search('show', sellers.cheap!, sellers.dear!)
  expect(two.stderr).toMatch(/^error Too many arguments for 'show'/)
})

test('--probe measures round trips and says that the first token was not paid for', async () => {
  const { stdout, stderr, code } = await search('llama', '--probe', '--fields', 'seller,rtt,reach')
  expect(code).toBe(0)
  expect(stdout).toMatch(new RegExp(`^${sellers.cheap!.slice(0, 16)} +\\d+ms +direct$`, 'm'))
  expect(stdout).toMatch(new RegExp(`^${sellers.dear!.slice(0, 16)} +- +direct\\?$`, 'm'))
  expect(stderr).toContain('cannot be reached from here')
  expect(stderr).toContain('Round trips only: the first token has to be paid')
  expect(healthy.asked()).toBeGreaterThan(1)
})

test('a condition on the round trip measures it unasked', async () => {
  const { rows } = await found('llama', 'rtt<2s')
  expect(rows.map(({ seller }) => seller)).toEqual([sellers.cheap])
  expect(rows[0]!.measured).toContain('rtt')
})

test('when no round trip is short enough sellers are not measured twice to explain it', async () => {
  const before = healthy.asked()
  expect((await found('llama', 'rtt<0.001ms')).explanation!.nearest!.command).toMatch(/ 'rtt<=[\d.]+ms'$/)
  const once = healthy.asked() - before
  await found('llama', 'rtt<2s')
  expect(healthy.asked() - before).toBe(2 * once)
})

test('where private networks are not allowed no seller in them is asked', async () => {
  const before = healthy.asked()
  const { stderr } = await runOpenseed(home, ['search', '--probe', ...registryFlags()], {
    variables: { OPENSEED_BUY_ALLOW_PRIVATE: 'false' },
  })
  expect(stderr).toContain('private networks and were not asked')
  expect(healthy.asked()).toBe(before)
})

test('--watch draws until it is stopped, which is no failure', async () => {
  const stop = new AbortController()
  const { code, stdout } = await runOpenseed(home, ['search', '--watch', ...registryFlags()], {
    signal: stop.signal,
    columns: 200,
    onOutput: (text) => {
      if (text.includes('llama')) stop.abort()
    },
  })
  expect(code).toBe(0)
  expect(stdout.startsWith('\u001b[H\u001b[J')).toBe(true)
  expect((await search('--watch', '--json')).code).toBe(2)
})

test('--watch goes on with what was known when the registry is gone', async () => {
  const registry = await startTestRegistry(904)
  await announce([registry], 5, { models: [recordModel({ id: 'phi-4' })] })
  const stop = new AbortController()
  const gone: PromiseLike<void>[] = []
  const { code, stdout } = await runOpenseed(home, ['search', '--watch', '--registry', registry.url], {
    signal: stop.signal,
    onOutput: (text) => {
      if (text.includes('known before')) stop.abort()
      else if (text.includes('phi-4') && gone.length === 0) gone.push(registry[Symbol.asyncDispose]())
    },
  })
  await Promise.all(gone)
  expect(code).toBe(0)
  expect(stdout).toMatch(/phi-4[^]*phi-4[^]*\nThe registry \S+ .*\. This is what was known before\.\n$/)
})

test('--watch ends when nobody reads it any more', async () => {
  const { code, stdout } = await runOpenseed(home, ['search', '--watch', ...registryFlags()], {
    isEnough: (text) => text.includes('llama'),
  })
  expect(code).toBe(0)
  expect(stdout.match(/^SELLER/gm)).toHaveLength(1)
})

test('a registry that is gone is named and the others answer; with none there is an error', async () => {
  const gone = 'http://127.0.0.1:1'
  const partly = await runOpenseed(home, ['search', 'llama', '--registry', gone, '--registry', second.url])
  expect(partly.code).toBe(0)
  expect(partly.stdout).toContain('llama-3.3-70b')
  expect(partly.stderr).toContain(gone)
  expect((await runOpenseed(home, ['search', '--registry', gone])).code).toBe(6)
  const none = await runOpenseed(home, ['search'])
  expect(none.code).toBe(6)
  expect(none.stderr).toContain('fix  Name one with --registry URL')
})
