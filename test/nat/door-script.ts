/** Runs in a namespace: opens sockets there and hands them to whoever started it. */
import { connect, createServer } from 'node:net'
import type { Wish } from './door.ts'

process.on('message', ({ id, wanted, host, port }: Wish) => {
  const fail = ({ message }: Error) => void process.send?.({ id, failure: message })
  if (wanted === 'listener') {
    const server = createServer().once('error', fail)
    // Who keeps it takes its share of the connections.
    server.listen(port, host, () => process.send?.({ id }, server, () => server.close()))
    return
  }
  const socket = connect({ host, port, allowHalfOpen: true }).once('error', fail)
  // Not a byte is to be read here.
  socket.pause()
  socket.once('connect', () => process.send?.({ id }, socket))
})
process.once('disconnect', () => process.exit())
