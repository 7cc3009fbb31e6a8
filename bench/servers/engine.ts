/** The fastest engine that still answers like one: a fixed text, `max_tokens` tokens long, one event per turn. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { benchModel, promptTokens } from '../requests.ts'

interface Asked {
  stream?: boolean
  max_tokens?: number
}

const head = { id: 'chatcmpl-1', created: 1_700_000_000, model: benchModel }
const usageOf = (tokens: number) => ({
  prompt_tokens: promptTokens,
  completion_tokens: tokens,
  total_tokens: promptTokens + tokens,
})
const eventOf = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const chunk = (choices: unknown[]) => ({ ...head, object: 'chat.completion.chunk', choices })
const delta = (content: string) => eventOf(chunk([{ index: 0, delta: { content }, finish_reason: null }]))
const lastDelta = eventOf(chunk([{ index: 0, delta: {}, finish_reason: 'stop' }]))

const models = JSON.stringify({
  object: 'list',
  data: [{ id: benchModel, object: 'model', created: 1, owned_by: 'bench', max_model_len: 8192 }],
})

const server = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/v1/chat/completions') {
    answer(request, response).catch((error: Error) => response.destroy(error))
    return
  }
  const known = request.method === 'GET' && request.url === '/v1/models'
  response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
  response.end(known ? models : '{"error":{"message":"not here"}}')
})

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
  const { stream = false, max_tokens: tokens = 16 } = JSON.parse(Buffer.concat(parts).toString()) as Asked
  if (stream) return streamTokens(tokens, response)
  const message = { role: 'assistant', content: 'word '.repeat(tokens).trimEnd() }
  const body = Buffer.from(
    JSON.stringify({
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason: 'stop' }],
      usage: usageOf(tokens),
    }),
  )
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
  response.end(body)
}

async function streamTokens(tokens: number, response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  for (let token = 0; token < tokens; token++) {
    if (response.destroyed) return
    if (!response.write(delta('word '))) await once(response, 'drain')
    await nextTurn()
  }
  response.end(`${lastDelta}${eventOf({ ...chunk([]), usage: usageOf(tokens) })}data: [DONE]\n\n`)
}

server.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
