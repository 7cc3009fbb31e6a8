/** A way into a namespace: sockets that are there, in the hands of this process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, Socket, type Server } from 'node:net'
import { insideOf } from './lab.ts'

export interface Door extends AsyncDisposable {
  /** A connection that begins in the namespace. */
  connect(host: string, port: number): Promise<Socket>
  /** Whoever connects there, in the namespace, comes out at a port of this machine. */
  lead(host: string, port: number, to: number): Promise<void>
}

/** What the program in the namespace is asked for. */
export interface Wish {
  id: number
  wanted: 'connection' | 'listener'
  host: string
  port: number
}

const script = new URL('door-script.ts', import.meta.url).pathname

export async function openDoor(namespace: string): Promise<Door> {
  const [program, args] = insideOf(namespace)
  const child = spawn(program, [...args, process.execPath, script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  const listeners: Server[] = []
  const waiting = new Map<number, PromiseWithResolvers<Socket | Server>>()
  let wishes = 0
  child.on('message', ({ id, failure }: { id: number; failure?: string }, handle) => {
    if (failure === undefined) waiting.get(id)?.resolve(handle as Socket | Server)
    else waiting.get(id)?.reject(new Error(failure))
    waiting.delete(id)
  })
  const get = (wanted: Wish['wanted'], host: string, port: number) => {
    wishes += 1
    const answer = Promise.withResolvers<Socket | Server>()
    waiting.set(wishes, answer)
    child.send({ id: wishes, wanted, host, port } satisfies Wish)
    return answer.promise
  }
  return {
    connect: async (host, port) => (await get('connection', host, port)) as Socket,
    async lead(host, port, to) {
      const listener = (await get('listener', host, port)) as Server
      listeners.push(listener)
      listener.on('connection', (near) => join(near, connect({ port: to, host: '127.0.0.1' })))
    },
    async [Symbol.asyncDispose]() {
      for (const listener of listeners) listener.close()
      if (child.connected) child.disconnect()
      await ended
    },
  }
}

function join(near: Socket, far: Socket): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.pipe(to)
    from.once('error', () => to.destroy())
    from.once('close', () => to.destroy())
  }
}
