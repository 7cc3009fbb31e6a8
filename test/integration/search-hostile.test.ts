import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RegistryNode } from '../../src/node/registry-node.ts'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import type { SellerBody } from '../../src/wire/seller-record.ts'
import { recordModel } from '../fixtures/records.ts'
import {
  announce,
  runOpenseed,
  signedSeller,
  startHealthy,
  startTestRegistry,
} from '../fixtures/search-market.ts'

const escape = '\u001b[2J\u001b]0;owned\u0007'

let home: string
let honest: RegistryNode
let seller: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'search-hostile-'))
  honest = await startTestRegistry(941)
  seller = await announce([honest], 51, { models: [recordModel({ id: 'llama-3', out: 300_000n })] })
})

afterAll(async () => {
  await honest[Symbol.asyncDispose]()
  await rm(home, { recursive: true })
})

async function beside(answer: RequestListener, ...words: string[]) {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const startedMs = performance.now()
  try {
    const command = ['search', ...words, '--registry', url, '--registry', honest.url]
    return { url, ...(await runOpenseed(home, command)), tookMs: performance.now() - startedMs }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const pageOf = (sellers: unknown[], next: string | null) =>
  JSON.stringify({ sellers, gone: [], next, more: false, version: 'a-1', reset: false })

/** A registry that lists what it likes. */
const listing =
  (...sellers: unknown[]): RequestListener =>
  (request, response) => {
    const models = [
      { id: `llama-3`, sellers: 1, live: 1 },
      { id: `llama${escape}`, sellers: 1, live: 1 },
    ]
    const path = request.url ?? ''
    if (path.startsWith('/v1/models')) response.end(JSON.stringify({ models, next: null }))
    else response.end(path.startsWith('/v1/sellers/') ? JSON.stringify(sellers[0]) : pageOf(sellers, null))
  }

const told = (n: number, changes: object = {}, measured: object = {}, more: Partial<SellerBody> = {}) => {
  const { record, binding } = signedSeller(n, { models: [recordModel({ id: 'llama-3' })], ...more })
  const signed = JSON.parse(encodeRecord(record)) as { peer: string; body: object }
  return {
    record: { ...signed, body: { ...signed.body, ...changes } },
    binding: encodeBinding(binding),
    heartbeat: null,
    lastSeenMs: Date.now(),
    state: 'live',
    measured: { sinceMs: 0, uptime: 1, heartbeats: 1, ...measured },
  }
}

test('a registry that answers without end is cut off and named, and the others are heard', async () => {
  const { url, stdout, stderr, code } = await beside((_, response) => {
    response.write('[')
    response.end(Buffer.alloc(10 * 1_024 * 1_024, 0x20))
  }, 'llama')
  expect(code).toBe(0)
  expect(stdout).toContain(seller.slice(0, 16))
  expect(stderr).toContain(`The registry ${url} answered more than`)
})

test('a registry that never answers holds up nobody for long', async () => {
  const { url, stdout, stderr, tookMs } = await beside(() => undefined, 'llama')
  expect(stdout).toContain(seller.slice(0, 16))
  expect(stderr).toContain(`The registry ${url} did not answer within 2000 ms.`)
  expect(tookMs).toBeLessThan(10_000)
})

test('a registry that gives one page after the other, each late, is not read to the end', async () => {
  let asked = 0
  const { stdout, stderr } = await beside((_, response) => {
    asked += 1
    setTimeout(() => response.end(pageOf([], 'more')), 1_600)
  })
  expect(stdout).toContain(seller.slice(0, 16))
  expect(stderr).toContain('There are more sellers than were read')
  expect(asked).toBeLessThan(4)
})

test('a seller far down in the list is shown by the beginning of its id, and an endless list says that it is one', async () => {
  const far = told(54)
  const { stdout } = await beside(
    (request, response) => {
      const page = Number(new URL(request.url ?? '', 'http://a').searchParams.get('cursor') ?? 0)
      response.end(page === 7 ? pageOf([far], null) : pageOf([], String(page + 1)))
    },
    'show',
    far.record.peer.slice(0, 16),
  )
  expect(stdout).toContain(far.record.peer)
  const { code, stderr } = await beside(
    (_, response) => response.end(pageOf([], 'more')),
    'show',
    '12D3KooWx',
  )
  expect(code).toBe(5)
  expect(stderr).toContain('none is called 12D3KooWx, and there are more.')
})

test('where there are more sellers than are measured, that is told', async () => {
  const nowhere = { url: 'http://127.0.0.1:1', addrs: [] }
  const many = Array.from({ length: 51 }, (_, at) => told(100 + at, {}, {}, nowhere))
  const { stderr } = await beside(listing(...many), 'llama', 'rtt<1m')
  expect(stderr).toContain('Of 52 sellers only the first 50 were measured: narrow the search.')
})

test('where no registry answers in the protocol, what to do next is told', async () => {
  const server = await startHealthy('null')
  const { code, stderr } = await runOpenseed(home, ['search', 'llama', '--registry', server.url])
  await server[Symbol.asyncDispose]()
  expect(code).toBe(6)
  expect(stderr).toContain(
    'answered outside the protocol: page must be an object.\n  fix  Try again, name another',
  )
})

test('what is not signed as it stands is left out, and nothing of it reaches the terminal', async () => {
  const forged = told(52, { region: `eu${escape}` })
  const cheaper = told(51, { models: [] })
  const { url, stdout, stderr } = await beside(listing(forged, cheaper, { record: escape }), 'llama')
  expect(stdout).toContain(seller.slice(0, 16))
  expect(stdout + stderr).not.toContain('owned')
  expect(stderr).toContain(`The registry ${url} listed `)
  expect(stderr).toContain('records that are not valid; they are left out.')
})

test('what each registry saw of a seller is told with its name, however absurd', async () => {
  const praise = { success: 1, uptime: 0.001, rttMs: 0.001, via: 'url', atMs: 8_640_000_000_000_001 }
  const { url, stdout } = await beside(listing(told(51, {}, praise)), 'show', seller)
  const [, seen = ''] = stdout.split(/(?=^SEEN BY)/m)
  expect(seen).toMatch(/^SEEN BY +UPTIME +OK /)
  expect(seen).toMatch(new RegExp(`^${url} +0.1% +100% +0ms +url `, 'm'))
  expect(seen).toMatch(new RegExp(`^${honest.url} +\\d+`, 'm'))
  expect(seen).toMatch(/^all +0.1% to \d/m)
  const future = { sinceMs: Number.MAX_SAFE_INTEGER, ...praise }
  const { stdout: shown } = await beside(listing(told(53, {}, future)), 'show', told(53).record.peer)
  expect(shown).toContain('never')
})
