import { Readable } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { silentLog } from '../base/log.ts'
import type { SellerRequest } from '../net/seller-client.ts'
import { signRecord } from '../wire/record.ts'
import { catalogHash, catalogText, type RecordModel } from '../wire/seller-record.ts'
import type { KnownSeller } from './announced.ts'
import { openCatalogues } from './catalogues.ts'
import { patient } from '../../test/fixtures/patient.ts'

const startMs = 1_800_000_000_000
const models: RecordModel[] = Array.from({ length: 40 }, (_, n) => ({
  id: `m${n}`,
  quant: null,
  ctx: 8_192,
  maxOut: 1_024,
  in: 1n,
  cached: 1n,
  out: 2n,
  caps: [],
}))
const text = catalogText(models)

function seller(number: number, place: string, url: string): KnownSeller {
  const key = nodeKey(number)
  const catalog = { hash: catalogHash(text), url: place }
  const record = signRecord(key, sellerDraft(startMs, { models: null, catalog, url: null }))
  return { record, heartbeat: null, url, target: { url: null, addrs: [] }, metAt: [] }
}

function openWith(answers: Record<string, () => string>) {
  const asked: string[] = []
  const read = vi.fn<() => void>()
  const catalogues = openCatalogues({
    clientFor: (url) => ({
      url,
      async request({ path }: SellerRequest) {
        asked.push(url + path)
        const body = answers[url + path]
        const status = body === undefined ? 404 : 200
        return { status, headers: {}, body: Readable.from([Buffer.from(body?.() ?? '')]) }
      },
    }),
    onRead: read,
    log: silentLog,
  })
  return { catalogues, asked, read }
}

const byPeer = seller(1, 'http://p.openseed/openseed/v1/catalog', 'openseed://p')

test('models are read from the seller itself, once, and kept for as long as a record names them', async () => {
  const { catalogues, asked, read } = openWith({ 'openseed://p/openseed/v1/catalog': () => text })
  expect(catalogues.modelsOf(byPeer)).toBeNull()
  catalogues.follow([byPeer])
  await vi.waitUntil(() => read.mock.calls.length === 1, patient)
  catalogues.follow([byPeer])
  expect(catalogues.modelsOf(byPeer)).toEqual(models)
  expect(asked).toEqual(['openseed://p/openseed/v1/catalog'])
  catalogues.follow([])
  expect(catalogues.modelsOf(byPeer)).toBeNull()
  await catalogues.close()
})

test('the path of a URL is taken relative to the seller, and never leads to another host', async () => {
  const { catalogues, asked } = openWith({})
  catalogues.follow([seller(1, 'https://s.example/api/catalog.json', 'https://s.example/api')])
  await catalogues.close()
  expect(asked).toEqual(['https://s.example/api/catalog.json'])
  const elsewhere = openWith({})
  elsewhere.catalogues.follow([seller(1, 'https://evil.example/c?a=1#x', 'https://s.example')])
  await elsewhere.catalogues.close()
  expect(elsewhere.asked).toEqual(['https://s.example/c?a=1'])
})

test('what does not have the hash is not believed, and the next who names it is asked a while later', async () => {
  const liar = seller(2, 'http://l.openseed/c', 'openseed://l')
  const { catalogues, read, asked } = openWith({
    'openseed://l/c': () => text.replace('m0', 'x0'),
    'openseed://p/openseed/v1/catalog': () => text,
  })
  catalogues.follow([liar, byPeer])
  await vi.waitUntil(() => asked.length === 1, patient)
  expect(catalogues.modelsOf(byPeer)).toBeNull()
  catalogues.follow([liar, byPeer])
  await vi.waitUntil(() => read.mock.calls.length === 1, patient)
  expect(asked).toHaveLength(2)
  expect(catalogues.modelsOf(byPeer)).toEqual(models)
  await catalogues.close()
})
