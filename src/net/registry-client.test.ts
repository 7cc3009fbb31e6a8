import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { encodeBinding } from '../wire/peer-binding.ts'
import { encodeRecord, signRecord, type RecordDraft } from '../wire/record.ts'
import { announcedSeller } from '../../test/fixtures/announced-seller.ts'
import { heartbeatDraft, indexDraft, nodeKey } from '../../test/fixtures/records.ts'
import { openRegistryClient, type RegistryClient } from './registry-client.ts'

/** A client of a registry that answers as it likes. */
async function against(
  answer: RequestListener,
  use: (client: RegistryClient) => Promise<void>,
  deadlineMs = 2_000,
): Promise<void> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = openRegistryClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    deadlineMs,
  })
  try {
    await use(client)
  } finally {
    await client.close()
    server.closeAllConnections()
    server.close()
  }
}

const says =
  (value: unknown, status = 200): RequestListener =>
  (_, response) =>
    response.writeHead(status).end(JSON.stringify(value))

const seller = announcedSeller(1)
const honest = {
  record: JSON.parse(encodeRecord(seller.record())) as { body: object },
  binding: encodeBinding(seller.binding),
  heartbeat: null,
  lastSeenMs: Date.now(),
  state: 'live',
  measured: { sinceMs: 1, uptime: 1, heartbeats: 3 },
}
const page = (sellers: unknown[]) => ({
  sellers,
  gone: [],
  next: null,
  more: false,
  version: 'a-1',
  reset: false,
})

test('listings that are not signed as they stand are left out and counted', async () => {
  const dearer = { ...honest, record: { ...honest.record, body: { ...honest.record.body, region: 'moon' } } }
  const otherWallet = { ...honest, binding: encodeBinding(announcedSeller(2).binding) }
  const odd = [dearer, otherWallet, null, 7, {}, { ...honest, measured: { uptime: 2 } }]
  await against(says(page([...odd, honest])), async (client) => {
    const answer = await client.sellers()
    expect(answer).toMatchObject({ refused: odd.length })
    expect(answer!.listings.map(({ record }) => record.peer)).toEqual([seller.peer])
  })
})

test('a seller who was seen in the future was seen now', async () => {
  await against(says(page([{ ...honest, lastSeenMs: Date.now() + 86_400_000 }])), async (client) => {
    expect((await client.sellers())!.listings[0]!.lastSeenMs).toBeLessThanOrEqual(Date.now())
  })
})

test('no registry makes a seller look more alive than its own signatures do', async () => {
  const minutesAgo = (minutes: number) => Date.now() - minutes * 60_000
  const silent = announcedSeller(6)
  const seq = minutesAgo(10)
  const told = {
    ...honest,
    record: JSON.parse(encodeRecord(silent.record({}, { seq }))) as object,
    binding: encodeBinding(silent.binding),
  }
  const beat = (at: number) => JSON.parse(encodeRecord(silent.heartbeat({}, { seq: at }))) as object
  const listings = [
    null,
    beat(minutesAgo(5)),
    beat(minutesAgo(1)),
    { ...beat(minutesAgo(1)), seq: Date.now() },
  ]
  await against(
    says(page(listings.map((heartbeat) => ({ ...told, lastSeenMs: Date.now(), heartbeat })))),
    async (client) => {
      const seen = (await client.sellers())!.listings
      expect(seen.map(({ state }) => state)).toEqual(['stale', 'stale', 'live', 'stale'])
      expect(seen[0]!.lastSeenMs).toBe(seq + 120_000)
      expect(seen[1]!.lastSeenMs).toBeLessThanOrEqual(minutesAgo(3))
    },
  )
})

test('what a registry measured is taken as far as it makes sense, and never costs the seller its place', async () => {
  const by = announcedSeller(4).peer
  const sensible = { by, atMs: Date.now() - 5, success: 0.9, via: 'p2p', rttMs: 12.5 }
  const odd = { by: 'me', atMs: Date.now() + 86_400_000, success: 1.1, via: 'pigeon', rttMs: -1 }
  const other = announcedSeller(5)
  const second = {
    ...honest,
    record: JSON.parse(encodeRecord(other.record())) as object,
    binding: encodeBinding(other.binding),
    measured: { ...honest.measured, ...odd },
  }
  const first = { ...honest, measured: { ...honest.measured, ...sensible } }
  await against(says(page([first, second])), async (client) => {
    const { listings } = (await client.sellers())!
    expect(listings.map(({ measured }) => measured)).toEqual([first.measured, honest.measured])
  })
})

test('a registry speaks for itself only with a valid record, and for others with theirs', async () => {
  const key = nodeKey(1)
  const record = (draft: RecordDraft<'index' | 'heartbeat'>, by = key) =>
    JSON.parse(encodeRecord(signRecord(by, draft))) as { body: object }
  const nowMs = Date.now()
  const own = record(indexDraft(nowMs))
  const other = record(indexDraft(nowMs, { url: null, addrs: ['/ip4/203.0.113.7/tcp/1'] }), nodeKey(2))
  const forged = { ...other, body: { ...other.body, url: 'https://thief.example.com' } }
  const expired = record(indexDraft(nowMs - 2 * 3_600_000), nodeKey(3))
  await against(says({ record: own, others: [forged, expired, null, 7, other] }), async (client) => {
    const { others } = await client.indexes()
    expect(others.map(({ peer }) => peer)).toEqual([nodeKey(2).peerId])
    expect(await client.index()).toMatchObject({ peer: key.peerId, type: 'index' })
  })
  const lies = [
    { record: forged, others: [] },
    { record: expired },
    { record: record(heartbeatDraft(nowMs)) },
    { record: null },
    { others: [own] },
    { record: own, others: Array(51).fill(other) },
    { record: own, others: 'many' },
  ]
  for (const lie of lies)
    await against(says(lie), async (client) => {
      await expect(client.index()).rejects.toMatchObject({ code: 'registry_failed' })
    })
})

test('another seller than the one asked for is none', async () => {
  await against(says(honest), async (client) => {
    expect(await client.seller(seller.peer)).toMatchObject({ state: 'live' })
    expect(await client.seller(announcedSeller(3).peer)).toBeNull()
  })
})

test('an answer without end is cut off at five megabytes', async () => {
  let sentBytes = 0
  const endless: RequestListener = (_, response) => {
    const chunk = Buffer.alloc(64 * 1024, 0x20)
    const more = () => {
      while (!response.destroyed && sentBytes < 1e9 && response.write(chunk)) sentBytes += chunk.length
    }
    response.on('drain', more)
    more()
  }
  await against(endless, async (client) => {
    await expect(client.sellers()).rejects.toMatchObject({ code: 'registry_failed' })
    expect(sentBytes).toBeLessThan(30e6)
  })
})

test('a registry that says nothing, or a byte now and then, is given up at the deadline', async () => {
  await against(
    () => undefined,
    async (client) => {
      await expect(client.stats()).rejects.toMatchObject({ code: 'registry_unreachable' })
    },
    100,
  )
  const dripping: RequestListener = (_, response) => {
    const timer = setInterval(() => response.write(' '), 20)
    response.on('close', () => clearInterval(timer))
  }
  await against(
    dripping,
    async (client) => {
      await expect(client.models()).rejects.toMatchObject({ code: 'registry_unreachable' })
    },
    100,
  )
})

test('whatever is outside of the protocol is an error of the registry and never a crash', async () => {
  const answers = [
    null,
    [],
    'hello',
    {},
    page([]).sellers,
    { ...page([]), gone: ['nobody'] },
    { sellers: Array(501) },
  ]
  for (const answer of answers)
    await against(says(answer), async (client) => {
      const failed = { code: 'registry_failed' }
      await expect(client.sellers()).rejects.toMatchObject(failed)
      await expect(client.stats()).rejects.toMatchObject(failed)
      await expect(client.models()).rejects.toMatchObject(failed)
      await expect(client.deltas()).rejects.toMatchObject(failed)
      await expect(client.index()).rejects.toMatchObject(failed)
      await expect(client.heartbeats([seller.heartbeat()])).rejects.toMatchObject(failed)
      await expect(client.register(seller.record(), seller.binding)).rejects.toMatchObject(failed)
    })
})

test('redirects are not followed and errors carry their status', async () => {
  const elsewhere: RequestListener = (_, response) =>
    response.writeHead(302, { location: 'http://10.0.0.1/' }).end()
  await against(elsewhere, async (client) => {
    await expect(client.sellers()).rejects.toMatchObject({ code: 'registry_failed' })
  })
  await against(says({ error: {} }, 503), async (client) => {
    await expect(client.sellers()).rejects.toThrow('answered 503 to GET /v1/sellers')
  })
})

test('a call that is called off ends with the reason', async () => {
  const stop = new AbortController()
  const reason = new Error('enough')
  await against(
    () => stop.abort(reason),
    async (client) => {
      await expect(client.sellers({ signal: stop.signal })).rejects.toBe(reason)
    },
  )
})

test('what is no URL is no registry', () => {
  for (const url of ['registry', 'ftp://x', 'http://user:secret@host'])
    expect(() => openRegistryClient(url)).toThrow(expect.objectContaining({ code: 'config_invalid' }))
})
