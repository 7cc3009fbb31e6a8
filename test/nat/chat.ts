/** What a client of a buyer sees: one streamed chat, read as it comes. */
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Changes } from '../../src/base/changes.ts'
import { SseSplitter } from '../../src/wire/sse.ts'

export interface Chat {
  status: number
  /** The way the request took: url, direct or relayed. */
  path: string
  /** From the request to the first event. */
  firstMs: number
  /** Resolves when so many words have come; false when the answer ended before. */
  words(count: number): Promise<boolean>
  /** Resolves at the end. */
  end: Promise<ChatEnd>
}

export interface ChatEnd {
  /** As they came, the first one being word0. */
  words: number
  /** All in order, with a reason to finish and [DONE] behind them, and the end that HTTP gives an answer. */
  isComplete: boolean
  /** What the client was told instead. */
  error: { code: string; message: string } | null
  /** From the last word to the end. */
  silenceMs: number
}

interface Seen {
  words: string[]
  finish: string | null
  isDone: boolean
  error: ChatEnd['error']
  lastMs: number
  isOver: boolean
}

const mostMs = 30_000

/** `socket` leads to the gateway; `directive` is what the scripted engine is told. */
export async function openChat(socket: Socket, model: string, directive: string): Promise<Chat> {
  const body = JSON.stringify({
    model,
    stream: true,
    max_tokens: 300,
    messages: [{ role: 'user', content: directive }],
  })
  const startedMs = performance.now()
  const asked = request({
    createConnection: () => socket,
    host: 'localhost',
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  })
  const signal = AbortSignal.timeout(mostMs)
  const answered = once(asked.end(body), 'response', { signal }) as Promise<[IncomingMessage]>
  const [response] = await answered
  const status = response.statusCode ?? 0
  if (status !== 200) throw new Error(`${status}: ${Buffer.concat(await response.toArray()).toString()}`)
  const seen: Seen = { words: [], finish: null, isDone: false, error: null, lastMs: 0, isOver: false }
  const news = new Changes<'news'>()
  const splitter = new SseSplitter()
  const first = Promise.withResolvers<number>()
  response.on('data', (chunk: Buffer) => {
    first.resolve(performance.now() - startedMs)
    for (const { data } of splitter.push(chunk)) if (data !== null) note(data, seen)
    news.wake('news')
  })
  // An answer that is cut off is no less over.
  const over = new Promise<number>((resolve) => response.once('close', () => resolve(performance.now())))
  response.once('error', () => {})
  const end = over.then((endedMs): ChatEnd => {
    seen.isOver = true
    news.wake('news')
    const { words, finish, isDone, error, lastMs } = seen
    const inOrder = words.every((word, at) => word === ` word${at}`)
    const isComplete = inOrder && finish === 'stop' && isDone && response.complete && error === null
    return { words: words.length, isComplete, error, silenceMs: endedMs - lastMs }
  })
  return {
    status,
    path: String(response.headers['x-openseed-path']),
    firstMs: await Promise.race([first.promise, over]),
    async words(count) {
      while (seen.words.length < count && !seen.isOver) await news.next('news', signal)
      return seen.words.length >= count
    },
    end,
  }
}

interface ChunkText {
  error?: { code: string; message: string }
  choices?: { delta: { content?: string }; finish_reason: string | null }[]
}

function note(data: string, seen: Seen): void {
  if (data === '[DONE]') {
    seen.isDone = true
    return
  }
  const { error = null, choices = [] } = JSON.parse(data) as ChunkText
  seen.error ??= error
  for (const { delta, finish_reason: finish } of choices) {
    seen.finish ??= finish
    if (!delta.content) continue
    seen.words.push(delta.content)
    seen.lastMs = performance.now()
  }
}
