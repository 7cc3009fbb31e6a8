/** The least that a proxy in Node can do: node:http in, a keep-alive agent out, bytes piped. */
import { once } from 'node:events'
import { Agent, createServer, request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'

const upstream = new URL(process.argv[2] ?? '')
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

const server = createServer((request, response) => {
  const { method, url, headers } = request
  const asked = ask(
    { agent, host: upstream.hostname, port: upstream.port, method, path: url, headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    },
  )
  asked.on('error', (error) => response.destroy(error))
  response.on('close', () => {
    if (!response.writableFinished) asked.destroy()
  })
  request.pipe(asked)
})

server.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
