/** Passes bytes on between TCP connections, and nothing else: the least that any relay in Node.js costs. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { pipeline } from 'node:stream'

const target = Number(process.argv[2])
const server = createServer((near) => {
  const far = connect(target, '127.0.0.1')
  pipeline(near, far, near, () => {})
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
