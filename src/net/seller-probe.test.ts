import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { nodeKey } from '../../test/fixtures/records.ts'
import { openProbe, type ProbeOutcome, type ProbeParts } from './seller-probe.ts'

const peer = nodeKey(1).peerId
const { signal } = new AbortController()
const healthy: RequestListener = ({ url }, response) =>
  response.writeHead(url === '/base/healthz' ? 200 : 404).end('{}')

interface Stand {
  port: number
  asked: () => number
  probe: (url: string, more?: Partial<ProbeParts>) => Promise<ProbeOutcome>
}

/** A server that answers as it likes, and a probe of whatever URL. */
async function against(answer: RequestListener, use: (stand: Stand) => Promise<void>): Promise<void> {
  let asked = 0
  const server = createServer((request, response) => {
    asked += 1
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const probe: Stand['probe'] = (url, more = {}) =>
    openProbe({ host: null, allowPrivate: true, mayAsk: () => true, deadlineMs: 2_000, ...more })(
      { peer, url, addrs: [] },
      signal,
    )
  try {
    await use({ port: (server.address() as AddressInfo).port, asked: () => asked, probe })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

test('a seller that answers is timed by its second answer, under the path of its URL', async () => {
  await against(healthy, async ({ port, asked, probe }) => {
    const outcome = await probe(`http://127.0.0.1:${port}/base/`)
    expect(outcome).toMatchObject({ kind: 'answered', via: 'url', rttMs: expect.any(Number) })
    expect(asked()).toBe(2)
    expect(await probe(`http://127.0.0.1:${port}/elsewhere`)).toEqual({ kind: 'silent' })
  })
})

test('nobody is sent into a private network, by address or by a name that leads there', async () => {
  await against(healthy, async ({ port, asked, probe }) => {
    const careful = { allowPrivate: false }
    for (const host of [
      '127.0.0.1',
      '10.0.0.1',
      '169.254.169.254',
      '[::1]',
      'localhost',
      '[::ffff:127.0.0.1]',
    ])
      expect(await probe(`http://${host}:${port}/base`, careful)).toEqual({ kind: 'spared' })
    const tricky: Partial<ProbeParts> = {
      ...careful,
      resolve: (_, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    }
    expect(await probe(`http://seller.example.com:${port}/base`, tricky)).toEqual({ kind: 'silent' })
    expect(asked()).toBe(0)
  })
})

test('an address that was asked enough is spared, whatever name leads to it', async () => {
  await against(healthy, async ({ port, asked, probe }) => {
    const resolve: ProbeParts['resolve'] = (_, _options, done) =>
      done(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '127.0.0.2', family: 4 },
      ])
    const questions: string[] = []
    const mayAsk = (ip: string) => {
      questions.push(ip)
      return false
    }
    for (const host of ['127.0.0.1', 'a.example.com', 'b.example.com'])
      expect(await probe(`http://${host}:${port}/base`, { resolve, mayAsk })).toEqual({ kind: 'spared' })
    expect(questions).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1'])
    expect(asked()).toBe(0)
    expect(await probe(`http://a.example.com:${port}/base`, { resolve })).toMatchObject({ kind: 'answered' })
  })
})

test('an answer without end is not read, and one that never comes is not waited for', async () => {
  let sentBytes = 0
  const endless: RequestListener = (_, response) => {
    const chunk = Buffer.alloc(64 * 1024)
    const more = () => {
      while (!response.destroyed && sentBytes < 1e9 && response.write(chunk)) sentBytes += chunk.length
    }
    response.on('drain', more)
    more()
  }
  await against(endless, async ({ port, probe }) => {
    expect(await probe(`http://127.0.0.1:${port}`)).toEqual({ kind: 'silent' })
    expect(sentBytes).toBeLessThan(30e6)
  })
  await against(
    () => undefined,
    async ({ port, probe }) => {
      expect(await probe(`http://127.0.0.1:${port}`, { deadlineMs: 100 })).toEqual({ kind: 'silent' })
    },
  )
})

test('redirects are not followed', async () => {
  const elsewhere: RequestListener = (_, response) =>
    response.writeHead(302, { location: 'http://10.0.0.1/' }).end()
  await against(elsewhere, async ({ port, asked, probe }) => {
    expect(await probe(`http://127.0.0.1:${port}`)).toEqual({ kind: 'silent' })
    expect(asked()).toBe(1)
  })
})

test('a seller without a URL is asked among the peers, at public addresses that may be asked', async () => {
  const asked: (readonly string[])[] = []
  const host: ProbeParts['host'] = {
    pathTo: () => null,
    connect({ addrs }) {
      asked.push(addrs)
      return Promise.reject(new Error('nobody there'))
    },
  }
  const target = {
    peer,
    url: null,
    addrs: ['/ip4/10.0.0.1/tcp/1', '/ip4/8.8.4.4/tcp/1', '/ip4/8.8.8.8/tcp/1', '/dns4/a.example.com/tcp/1'],
  }
  const parts = { host, allowPrivate: false, deadlineMs: 1_000 }
  const mayAsk = (ip: string) => ip === '8.8.8.8'
  expect(await openProbe({ ...parts, mayAsk })(target, signal)).toEqual({ kind: 'silent' })
  expect(asked).toEqual([['/ip4/8.8.8.8/tcp/1']])
  expect(await openProbe({ ...parts, mayAsk: () => false })(target, signal)).toEqual({ kind: 'spared' })
  expect(asked).toHaveLength(1)
})
