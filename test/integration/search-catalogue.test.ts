import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RegistryNode } from '../../src/node/registry-node.ts'
import { catalogHash, catalogText } from '../../src/wire/seller-record.ts'
import { recordModel } from '../fixtures/records.ts'
import {
  announce,
  runOpenseed,
  startHealthy,
  startTestRegistry,
  type HealthyServer,
} from '../fixtures/search-market.ts'

const many = Array.from({ length: 120 }, (_, n) =>
  recordModel({ id: `llama-${n}`, out: BigInt(1_000 * (n + 1)) }),
)
const text = catalogText(many)

let home: string
let registry: RegistryNode
let shop: HealthyServer
let seller: string
let liar: string

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'search-catalogue-'))
  registry = await startTestRegistry(921)
  shop = await startHealthy(text)
  const catalog = { hash: catalogHash(text), url: `${shop.url}/openseed/v1/catalog` }
  seller = await announce([registry], 31, { models: null, catalog, url: shop.url })
  const wrong = { ...catalog, hash: catalogHash('{"models":[]}') }
  liar = await announce([registry], 32, { models: null, catalog: wrong, url: shop.url, region: 'us' })
  await announce([registry], 33, { models: [recordModel({ id: 'llama-3', out: 900_000n })], region: 'moon' })
})

afterAll(async () => {
  await shop[Symbol.asyncDispose]()
  await registry[Symbol.asyncDispose]()
  await rm(home, { recursive: true })
})

const search = (words: string[], variables: Record<string, string> = {}) =>
  runOpenseed(home, ['search', ...words, '--registry', registry.url], { variables })

test('models of a catalogue are found like those of a record', async () => {
  const { stdout } = await search(['llama-7', 'out<=$0.08', '--json'])
  const { rows } = JSON.parse(stdout) as { rows: { seller: string; model: string }[] }
  expect(rows.map(({ seller, model }) => [seller, model])).toEqual([
    [seller, 'llama-7'],
    ...[70, 71, 72, 73, 74, 75, 76, 77, 78, 79].map((n) => [seller, `llama-${n}`]),
  ])
})

test('a catalogue that is not the announced one is left out and told', async () => {
  const { stdout, stderr } = await search(['llama', '--limit', '3'])
  expect(stdout).not.toContain(liar.slice(0, 16))
  expect(stderr).toContain(
    '1 catalogues were not read. A catalog must be the document whose hash the record names.',
  )
  const shown = await search(['show', liar])
  expect(shown.stdout).toContain(`The catalogue is at ${shop.url}`)
  expect(shown.stderr).toContain('whose hash the record names')
})

test('no catalogue is asked for that conditions on its seller leave out', async () => {
  const before = shop.asked()
  const { stdout } = await search(['llama', 'region=moon'])
  expect(stdout).toContain('moon')
  expect(shop.asked()).toBe(before)
})

test('a catalogue in a private network is not asked for by who allows none', async () => {
  const before = shop.asked()
  const { stderr } = await search(['llama'], { OPENSEED_BUY_ALLOW_PRIVATE: 'false' })
  expect(stderr).toContain('leads into a private network')
  expect(shop.asked()).toBe(before)
})
