import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { catalogHash, catalogText, mostCatalogBytes } from '../wire/seller-record.ts'
import { recordModel } from '../../test/fixtures/records.ts'
import { fetchCatalogue } from './catalogue.ts'

const models = [recordModel({ id: 'a' }), recordModel({ id: 'b' })]
const text = catalogText(models)
const hash = catalogHash(text)
const rules = { allowPrivate: true, signal: AbortSignal.timeout(10_000) }

async function servedBy(answer: RequestListener, use: (url: string, port: number) => Promise<void>) {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    await use(`http://127.0.0.1:${port}/catalog?v=1`, port)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

test('a catalogue is what has the hash', async () => {
  await servedBy(
    (request, response) => response.end(request.url === '/catalog?v=1' ? text : '{}'),
    async (url) => {
      expect(await fetchCatalogue({ url, hash }, rules)).toEqual(models)
      const other = catalogHash('{"models":[]}')
      await expect(fetchCatalogue({ url, hash: other }, rules)).rejects.toMatchObject({
        code: 'invalid_message',
      })
    },
  )
})

test('too much, no answer and another status are errors of the seller', async () => {
  const tooMuch: RequestListener = (_, response) => response.end(Buffer.alloc(mostCatalogBytes + 1))
  await servedBy(tooMuch, async (url) => {
    await expect(fetchCatalogue({ url, hash }, rules)).rejects.toThrow(`over ${mostCatalogBytes} bytes`)
  })
  await servedBy(
    (_, response) => response.writeHead(302, { location: 'http://127.0.0.1/' }).end(),
    async (url) => {
      await expect(fetchCatalogue({ url, hash }, rules)).rejects.toThrow('answered 302')
    },
  )
  await servedBy(
    () => undefined,
    async (url) => {
      const signal = AbortSignal.timeout(50)
      await expect(fetchCatalogue({ url, hash }, { ...rules, signal })).rejects.toMatchObject({
        code: 'seller_unreachable',
      })
    },
  )
})

test('nobody is led into a private network who does not allow it', async () => {
  let asked = 0
  await servedBy(
    (_, response) => {
      asked += 1
      response.end(text)
    },
    async (url, port) => {
      const guarded = { ...rules, allowPrivate: false }
      await expect(fetchCatalogue({ url, hash }, guarded)).rejects.toThrow('private network')
      expect(asked).toBe(0)
      // Over a connection to the seller itself the URL leads nowhere.
      const given = { ...guarded, connect: async () => connect(port, '127.0.0.1') }
      expect(await fetchCatalogue({ url: 'http://12d3.openseed/catalog', hash }, given)).toEqual(models)
    },
  )
})
