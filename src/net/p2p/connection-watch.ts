/** Closes connections that have gone silent: a pulled cable says nothing, and TCP waits for minutes. */
import type { Connection } from '@libp2p/interface'
import { muxerOf, type Node } from './libp2p-node.ts'

export interface WatchTimes {
  /** The silence after which a connection in use is asked, and another one. */
  busyMs: number
  idleMs: number
  /** From a question to the first byte of anything. */
  silenceMs: number
}

// A stall of our own, in which nothing can be heard, takes up one of them and not the whole silence.
const silenceTurns = 8

/**
 * Asks each connection for a sign of life; any byte is one, so a full one that answers late is not mistaken for a dead
 * one. Connections without streams in use are asked seldom. Ends with the signal.
 */
export function watchConnections(
  node: Node,
  {
    isBusy,
    stopped,
    times,
  }: { isBusy: (connection: Connection) => boolean; stopped: AbortSignal; times: WatchTimes },
): void {
  const onOpen = ({ detail }: CustomEvent<Connection>) => watch(detail, isBusy, times)
  node.addEventListener('connection:open', onOpen)
  stopped.addEventListener('abort', () => node.removeEventListener('connection:open', onOpen), { once: true })
}

function watch(connection: Connection, isBusy: (connection: Connection) => boolean, times: WatchTimes): void {
  const muxer = muxerOf(connection)
  let heardMs = performance.now()
  let askedMs = heardMs
  let timer: NodeJS.Timeout | undefined
  const hear = () => {
    heardMs = performance.now()
  }
  const rest = (ms: number) => {
    timer = setTimeout(look, ms).unref()
  }
  const look = () => {
    const quietMs = performance.now() - Math.max(heardMs, askedMs)
    const leftMs = (isBusy(connection) ? times.busyMs : times.idleMs) - quietMs
    if (leftMs > 1) return rest(Math.min(times.busyMs, leftMs))
    askedMs = performance.now()
    const waiting = new AbortController()
    muxer.ping({ signal: waiting.signal }).catch(() => {})
    const listen = (turns: number) => {
      timer = setTimeout(() => {
        if (turns > 1 && heardMs < askedMs) return listen(turns - 1)
        waiting.abort()
        // After a stall of our own the answer may lie in the socket, and timers come before sockets.
        setImmediate(() => setImmediate(judge))
      }, times.silenceMs / silenceTurns).unref()
    }
    listen(silenceTurns)
  }
  const judge = () => {
    if (connection.status !== 'open') return
    if (heardMs < askedMs) connection.abort(silence())
    else rest(0)
  }
  muxer.maConn.addEventListener('message', hear)
  connection.addEventListener('close', () => clearTimeout(timer))
  rest(times.busyMs)
}

// TCP's own word for it, which passes through sockets and is understood above them.
function silence(): Error {
  return Object.assign(new Error('the connection went silent'), { code: 'ETIMEDOUT' })
}
