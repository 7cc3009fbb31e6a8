import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { OpenSeedError } from '../base/errors.ts'

const portsTried = 50

/** Starts listening. Throws `port_in_use`, naming the next free port: another port is never taken silently. */
export async function listenOn(server: Server, host: string, port: number): Promise<void> {
  const failure = await tryListen(server, host, port)
  if (failure === null) return
  if (failure.code !== 'EADDRINUSE') {
    throw new OpenSeedError('config_invalid', {
      message: `Cannot listen on ${host}:${port} (${failure.code ?? failure.message}).`,
      cause: failure,
    })
  }
  const free = await nextFreePort(host, port)
  throw new OpenSeedError('port_in_use', {
    message: `Port ${port} on ${host} is taken.`,
    hint: free === null ? 'Choose another with --port.' : `Port ${free} is free: --port ${free}`,
    details: { port, free },
    cause: failure,
  })
}

async function nextFreePort(host: string, taken: number): Promise<number | null> {
  const last = Math.min(taken + portsTried, 65_535)
  for (let port = taken + 1; port <= last; port++) {
    const probe = createServer()
    if ((await tryListen(probe, host, port)) === null) {
      probe.close()
      await once(probe, 'close')
      return port
    }
  }
  return null
}

async function tryListen(server: Server, host: string, port: number): Promise<NodeJS.ErrnoException | null> {
  try {
    server.listen(port, host)
    await once(server, 'listening')
    return null
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
}
