import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { findPmpRouter } from './port-mapping-pmp.ts'
import { findUpnpRouter } from './port-mapping-upnp.ts'
import { openPortMapping, type Router } from './port-mapping.ts'

const patience = () => AbortSignal.timeout(5_000)

async function udpServer(onMessage: (message: Buffer, reply: (bytes: Buffer) => void) => void) {
  const socket: Socket = createSocket('udp4')
  socket.on('message', (message, { port, address }) =>
    onMessage(message, (bytes) => socket.send(bytes, port, address)),
  )
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const close = () => new Promise<void>((resolve) => void socket.close(() => resolve()))
  return { port: socket.address().port, [Symbol.asyncDispose]: close }
}

/** As miniupnpd answers: opcode plus 128, result, seconds since its start, then the answer. */
function pmpAnswer(question: Buffer, result = 0): Buffer {
  if (question[1] === 0) return Buffer.from([0, 128, 0, result, 0, 0, 0, 9, 44, 1, 1, 1])
  const answer = Buffer.alloc(16)
  answer.writeUInt8(130, 1)
  answer.writeUInt16BE(result, 2)
  question.copy(answer, 8, 4, 6)
  answer.writeUInt16BE(question.readUInt32BE(8) === 0 ? 0 : 40_001, 10)
  question.copy(answer, 12, 8, 12)
  return answer
}

test('A NAT-PMP router is asked for a port, and asked again when the first question is lost.', async () => {
  const questions: Buffer[] = []
  await using server = await udpServer((question, reply) => {
    questions.push(question)
    if (questions.length > 1) reply(pmpAnswer(question))
  })
  const router = await findPmpRouter('127.0.0.1', patience(), server.port)
  expect(await router?.map(8_404, 3_600, patience())).toEqual({ ip: '44.1.1.1', port: 40_001 })
  await router?.unmap(8_404, patience())
  const mappings = questions
    .filter((question) => question.length === 12)
    .map((question) => question.toString('hex'))
  // Version, TCP, nothing; our port, the port wished for; seconds.
  expect(mappings).toEqual(['0002000020d420d400000e10', '0002000020d4000000000000'])
})

test('A NAT-PMP router that refuses, or answers nonsense, maps nothing.', async () => {
  await using refusing = await udpServer((question, reply) =>
    reply(pmpAnswer(question, question[1] === 0 ? 0 : 2)),
  )
  const router = await findPmpRouter('127.0.0.1', patience(), refusing.port)
  await expect(router?.map(8_404, 3_600, patience())).rejects.toThrow('result 2')
  await using babbling = await udpServer((_, reply) => reply(Buffer.from('hello')))
  expect(await findPmpRouter('127.0.0.1', patience(), babbling.port)).toBeNull()
})

test('Nobody there is no router.', async () => {
  const gone = await udpServer(() => {})
  await gone[Symbol.asyncDispose]()
  expect(await findPmpRouter('127.0.0.1', patience(), gone.port)).toBeNull()
})

const description = `<?xml version="1.0"?><root><device><deviceList><device><serviceList>
  <service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/ctl/no</controlURL></service>
  <service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl/IPConn</controlURL></service>
</serviceList></device></deviceList></device></root>`

/** Refuses with these error codes first, one for each AddPortMapping. */
async function upnpRouter({ errors = [] as number[], location = '' } = {}) {
  const calls: string[] = []
  const http = createServer((request, response) => {
    void request.toArray().then((body: Buffer[]) => answer(request, Buffer.concat(body).toString(), response))
  })
  const answer = (request: IncomingMessage, text: string, response: ServerResponse) => {
    if (request.method === 'GET') {
      response.end(description)
      return
    }
    const action = String(request.headers['soapaction']).split('#')[1]?.replace('"', '') ?? ''
    const field = (name: string) => new RegExp(`<${name}>([^<]*)<`).exec(text)?.[1]
    calls.push([action, field('NewExternalPort'), field('NewLeaseDuration')].filter(Boolean).join(' '))
    const error = action === 'AddPortMapping' ? errors.shift() : undefined
    if (error !== undefined)
      response.writeHead(500).end(`<UPnPError><errorCode>${error}</errorCode></UPnPError>`)
    else response.end('<NewExternalIPAddress>44.1.1.1</NewExternalIPAddress>')
  }
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as { port: number }
  const where = location === '' ? `http://127.0.0.1:${port}/rootDesc.xml` : location
  const ssdp = await udpServer((_, reply) =>
    reply(Buffer.from(`HTTP/1.1 200 OK\r\nLOCATION: ${where}\r\n\r\n`)),
  )
  return {
    calls,
    found: (signal = patience()) => findUpnpRouter(signal, { ip: '127.0.0.1', port: ssdp.port }),
    async [Symbol.asyncDispose]() {
      await ssdp[Symbol.asyncDispose]()
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

test('A UPnP router is asked for a port and told to forget it.', async () => {
  await using there = await upnpRouter()
  const router = await there.found()
  expect(await router?.map(8_404, 3_600, patience())).toEqual({ ip: '44.1.1.1', port: 8_404 })
  await router?.unmap(8_404, patience())
  expect(there.calls).toEqual(['AddPortMapping 8404 3600', 'GetExternalIPAddress', 'DeletePortMapping 8404'])
})

test('A UPnP router that has given the port away gives another, and an old one gives it for good.', async () => {
  await using there = await upnpRouter({ errors: [718, 725] })
  const router = await there.found()
  const outside = await router!.map(8_404, 3_600, patience())
  expect(outside.port).toBeGreaterThanOrEqual(20_000)
  const adds = there.calls.filter((call) => call.startsWith('Add'))
  expect(adds).toEqual([
    'AddPortMapping 8404 3600',
    `AddPortMapping ${outside.port} 3600`,
    `AddPortMapping ${outside.port} 0`,
  ])
})

test('Whoever answers a search cannot send us to somebody else.', async () => {
  await using there = await upnpRouter({ location: 'http://127.0.0.2:1/rootDesc.xml' })
  expect(await there.found(AbortSignal.timeout(300))).toBeNull()
})

function mappingOver(router: Router) {
  const stop = new AbortController()
  const { promise: changed, resolve } = Promise.withResolvers<void>()
  const mapping = openPortMapping({
    ports: () => [8_404],
    started: Promise.resolve(),
    stopped: stop.signal,
    allowPrivate: false,
    onChange: resolve,
    findRouter: async () => router,
  })
  return { mapping, changed, stop: () => stop.abort() }
}

function recordingRouter(ip: string) {
  const calls: string[] = []
  const { promise: asked, resolve } = Promise.withResolvers<void>()
  const router: Router = {
    async map(port) {
      calls.push(`map ${port}`)
      resolve()
      return { ip, port }
    },
    async unmap(port) {
      calls.push(`unmap ${port}`)
    },
  }
  return { calls, router, asked }
}

test('What was mapped is told, and taken back when the host stops.', async () => {
  const { calls, router } = recordingRouter('44.1.1.1')
  const { mapping, changed, stop } = mappingOver(router)
  await changed
  expect(mapping.mapped()).toEqual([{ ip: '44.1.1.1', port: 8_404 }])
  stop()
  await mapping.done
  expect(calls).toEqual(['map 8404', 'unmap 8404'])
})

test('A router that is itself behind another one has nothing to give.', async () => {
  const { router, asked, calls } = recordingRouter('100.64.1.2')
  const { mapping, stop } = mappingOver(router)
  await asked
  stop()
  await mapping.done
  expect(mapping.mapped()).toEqual([])
  expect(calls).toEqual(['map 8404', 'unmap 8404'])
})
