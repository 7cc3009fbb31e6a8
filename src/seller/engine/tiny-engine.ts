/** The built-in engine: OpenAI-compatible, honest in its counts, for trying everything else without a model. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { isRecord, recordOf, recordsOf, tokensOrNull, type Json } from './json.ts'
import { countWords, generateWords } from './tiny-text.ts'

/** Named so that nobody takes it for a language model. */
export const tinyModel = 'openseed-tiny'

const maxContext = 8192
const mostBodyBytes = 1024 * 1024
const mostChoices = 8

export interface TinyEngine extends AsyncDisposable {
  /** Without `/v1`. */
  url: string
  close: () => Promise<void>
}

/** Listens on 127.0.0.1. `tokensPerSec` paces each answer; without it an answer is written at once. */
export async function startTinyEngine(options: {
  port: number
  tokensPerSec?: number | undefined
}): Promise<TinyEngine> {
  const pauseMs = options.tokensPerSec === undefined ? 0 : 1000 / options.tokensPerSec
  const server = createServer((request, response) => {
    answer(request, response, pauseMs).catch(() => response.destroy())
  })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')

  async function close(): Promise<void> {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close, [Symbol.asyncDispose]: close }
}

async function answer(request: IncomingMessage, response: ServerResponse, pauseMs: number): Promise<void> {
  const path = request.url?.split('?')[0]
  if (request.method === 'GET' && path === '/v1/models') {
    const model = {
      id: tinyModel,
      object: 'model',
      created: 0,
      owned_by: tinyModel,
      max_model_len: maxContext,
    }
    return sendJson(response, 200, { object: 'list', data: [model] })
  }
  if (request.method !== 'POST' || path !== '/v1/chat/completions')
    return refuse(response, 404, 'There is nothing here.')
  const body = await readJson(request)
  if (body === null) return refuse(response, 400, 'The body is not a JSON object of at most 1 MiB.')
  if (body['model'] !== tinyModel) return refuse(response, 404, `The only model here is ${tinyModel}.`)
  const job = plan(body)
  if (job.promptTokens >= maxContext)
    return refuse(response, 400, `The prompt is longer than ${maxContext} tokens.`)
  return body['stream'] === true ? stream(job, body, response, pauseMs) : complete(job, response, pauseMs)
}

interface Job {
  id: string
  promptTokens: number
  choices: { words: string[]; finish: 'stop' | 'length' }[]
}

function plan(body: Json): Job {
  const prompt = recordsOf(body['messages'])
    .map((message) => textOf(message['content']))
    .join('\n')
  const promptTokens = Math.max(1, countWords(prompt))
  const asked = tokensOrNull(body['max_completion_tokens']) ?? tokensOrNull(body['max_tokens']) ?? maxContext
  const limit = Math.min(asked, Math.max(1, maxContext - promptTokens))
  const n = Math.min(tokensOrNull(body['n']) ?? 1, mostChoices)
  const choices = Array.from({ length: n }, (_, index) => {
    const words = generateWords(`${JSON.stringify(body['seed'] ?? 0)} ${index} ${prompt}`)
      .take(limit + 1)
      .toArray()
    return {
      words: words.slice(0, limit),
      finish: words.length > limit ? ('length' as const) : ('stop' as const),
    }
  })
  const id = `chatcmpl-${createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 24)}`
  return { id, promptTokens, choices }
}

function usageOf(job: Job): Json {
  const written = job.choices.reduce((sum, choice) => sum + choice.words.length, 0)
  return {
    prompt_tokens: job.promptTokens,
    completion_tokens: written,
    total_tokens: job.promptTokens + written,
  }
}

async function complete(job: Job, response: ServerResponse, pauseMs: number): Promise<void> {
  const left = new AbortController()
  response.once('close', () => left.abort())
  const longest = Math.max(...job.choices.map((choice) => choice.words.length))
  if (pauseMs > 0) await pause(longest * pauseMs, undefined, { signal: left.signal })
  const choices = job.choices.map(({ words, finish }, index) => ({
    index,
    message: { role: 'assistant', content: words.join('') },
    finish_reason: finish,
  }))
  sendJson(response, 200, { ...head(job, 'chat.completion'), choices, usage: usageOf(job) })
}

async function stream(job: Job, body: Json, response: ServerResponse, pauseMs: number): Promise<void> {
  const left = new AbortController()
  response.once('close', () => left.abort())
  const wantsUsage = recordOf(body['stream_options'])['include_usage'] === true
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })

  const send = async (data: Json | string): Promise<void> => {
    const isFull = !response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`)
    if (isFull) await once(response, 'drain', { signal: left.signal })
    left.signal.throwIfAborted()
  }
  const sendChoice = async (index: number, delta: Json, finish: string | null): Promise<void> => {
    const choices = [{ index, delta, finish_reason: finish }]
    await send({ ...head(job, 'chat.completion.chunk'), choices, ...(wantsUsage && { usage: null }) })
  }

  const longest = Math.max(...job.choices.map((choice) => choice.words.length))
  for (const index of job.choices.keys()) await sendChoice(index, { role: 'assistant', content: '' }, null)
  for (let at = 0; at < longest; at++) {
    if (pauseMs > 0) await pause(pauseMs, undefined, { signal: left.signal })
    for (const [index, { words }] of job.choices.entries()) {
      const word = words[at]
      if (word !== undefined) await sendChoice(index, { content: word }, null)
    }
  }
  for (const [index, { finish }] of job.choices.entries()) await sendChoice(index, {}, finish)
  if (wantsUsage) await send({ ...head(job, 'chat.completion.chunk'), choices: [], usage: usageOf(job) })
  await send('[DONE]')
  response.end()
}

function head(job: Job, object: string): Json {
  return { id: job.id, object, created: Math.floor(Date.now() / 1000), model: tinyModel }
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  return recordsOf(content)
    .map((part) => (typeof part['text'] === 'string' ? part['text'] : ''))
    .join(' ')
}

async function readJson(request: IncomingMessage): Promise<Json | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= mostBodyBytes) chunks.push(chunk)
  }
  try {
    const value: unknown = size <= mostBodyBytes ? JSON.parse(Buffer.concat(chunks).toString()) : null
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}

function refuse(response: ServerResponse, status: number, message: string): void {
  sendJson(response, status, { error: { message, type: 'invalid_request_error', param: null, code: null } })
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}
