import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { capConnections } from './cap-connections.ts'
import { patient } from '../../test/fixtures/patient.ts'

test('whoever holds many connections gets no more, and has room again when some end', async () => {
  const server = createServer((_request, response) => response.end('ok'))
  capConnections(server, 3)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const open = async () => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }
  const ask = async () => {
    const reply = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })
    return reply.text()
  }
  const held = [await open(), await open(), await open()]
  const refused = await open()
  await once(refused.resume(), 'close')
  await expect(ask()).rejects.toThrow()
  held[0]!.destroy()
  await vi.waitFor(async () => expect(await ask()).toBe('ok'), patient)
  for (const socket of held) socket.destroy()
  server.close()
})
