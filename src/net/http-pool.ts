/**
 * A few connections for small questions: registries, catalogues, a seller's health. undici serves many requests with
 * less; but who asks three times and ends would wait longer for its code than for the answers.
 */
import type { Agent, AgentOptions, ClientRequest, IncomingMessage, RequestOptions } from 'node:http'
import type { LookupFunction } from 'node:net'
import type { Duplex } from 'node:stream'
import { callbackify } from 'node:util'

// An import would touch everything that it exports, and so load the WebSocket that nobody here opens: 50 ms.
const http = process.getBuiltinModule('node:http')

export interface HttpQuestion {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: string
  /** For all of it, to the last byte of the answer. */
  signal: AbortSignal
}

export interface HttpPool extends AsyncDisposable {
  /** Resolves at the answer's head; redirects are answers like others. Who leaves the body unread must destroy it. */
  ask(question: HttpQuestion): Promise<IncomingMessage>
  /** Closes all connections; what runs fails. */
  close(): Promise<void>
}

export interface HttpPoolOptions {
  connections: number
  maxHeaderBytes: number
  /** The system's unless told. */
  lookup?: LookupFunction | undefined
  /** Gives connections in place of dialling the origin, which must be http then. */
  connect?: () => Promise<Duplex>
}

/** Connects on the first question. `origin` is of an http or https URL. */
export function openHttpPool(origin: string, options: HttpPoolOptions): HttpPool {
  const { protocol, hostname, port } = new URL(origin)
  const { connections, maxHeaderBytes, lookup, connect } = options
  const target: RequestOptions = {
    protocol,
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? null : port,
    maxHeaderSize: maxHeaderBytes,
    ...(lookup && { lookup }),
  }
  const settings = { keepAlive: true, maxSockets: connections }
  let agent: Agent | null = null
  let isClosed = false

  function openAgent(): Agent {
    if (connect) return agentOver(connect, settings)
    return protocol === 'https:' ? new (https().Agent)(settings) : new http.Agent(settings)
  }

  async function ask(question: HttpQuestion): Promise<IncomingMessage> {
    const { method, path, headers = {}, body, signal } = question
    const attempt = () => {
      if (isClosed) throw new Error('the connections are closed')
      const { request } = protocol === 'https:' ? https() : http
      agent ??= openAgent()
      return headOf(request({ ...target, agent, method, path, headers, signal }), body)
    }
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error
      return await attempt()
    }
  }

  async function close(): Promise<void> {
    isClosed = true
    agent?.destroy()
  }
  return { ask, close, [Symbol.asyncDispose]: close }
}

// TLS takes as long to load as all the rest of a question on the local network.
function https() {
  return process.getBuiltinModule('node:https')
}

function agentOver(connect: () => Promise<Duplex>, settings: AgentOptions): Agent {
  const agent = new http.Agent(settings)
  const give = callbackify(connect)
  agent.createConnection = (_options, done) => {
    give((error, socket) => done?.(error, socket))
    return undefined
  }
  return agent
}

/** The other side closed a connection that had been idle while it was taken for this question. */
class StaleConnection extends Error {}

function headOf(request: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on('response', resolve)
    request.on('error', (cause: NodeJS.ErrnoException) => {
      reject(
        request.reusedSocket && cause.code === 'ECONNRESET'
          ? new StaleConnection('closed when idle', { cause })
          : cause,
      )
    })
    request.on('close', () => reject(new Error('closed without an answer')))
    request.end(body)
  })
}
