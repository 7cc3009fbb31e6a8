import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import * as replies from '../../test/fixtures/engine-replies.ts'
import type { Json } from './engine/json.ts'
import { askLoaded } from './engine/loaded.ts'
import { probeEngine } from './engine/probe.ts'
import { watchWarm } from './warm-models.ts'
import { patient } from '../../test/fixtures/patient.ts'

type Replies = Record<string, { status?: number; body: unknown }>

/** An engine that answers as recorded; what is changed in `recorded` is answered from then on. */
async function serve(recorded: Replies): Promise<string> {
  const server = createServer((request, response) => {
    const reply = recorded[request.url ?? ''] ?? recorded['*'] ?? { status: 404, body: {} }
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(reply.body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function watched(recorded: Replies) {
  const engine = await probeEngine(await serve(recorded), AbortSignal.timeout(5000))
  const warm = watchWarm([engine], { everyMs: 20 })
  onTestFinished(() => warm[Symbol.asyncDispose]())
  return warm
}

test.each([
  // Its other models are asked for by name, which this server does not answer.
  ['vLLM', replies.vllm, ['Qwen/Qwen2.5-7B-Instruct', 'sql-lora']],
  ['llama.cpp', replies.llamaCpp, [expect.any(String)]],
  ['LM Studio', replies.lmStudio, ['meta-llama-3.1-8b-instruct']],
])('%s tells what it has loaded', async (_, recorded, ids) => {
  const warm = await watched(recorded)
  await vi.waitFor(() => expect(warm.ids()).toEqual(ids), patient)
})

test('Ollama tells it in its list of processes, and the next look sees a change', async () => {
  const show = { body: { capabilities: ['completion'], model_info: {} } }
  const recorded: Replies = { ...replies.ollama, '/api/show': show }
  const warm = await watched(recorded)
  await vi.waitFor(() => expect(warm.ids()).toEqual(['qwen3:8b']), patient)
  recorded['/api/ps'] = { body: { models: [{ name: 'phi3:mini' }, { name: 'unknown:1b' }] } }
  await vi.waitFor(() => expect(warm.ids()).toEqual(['phi3:mini']), patient)
  recorded['/api/ps'] = { status: 500, body: {} }
  await vi.waitFor(() => expect(warm.ids()).toEqual([]), patient)
})

test('a router that has loaded none has none; who does not tell is not asked', async () => {
  const ask = async () =>
    ({ kind: 'json', status: 200, value: replies.llamaCppRouter['/v1/models']?.body as Json }) as const
  expect(await askLoaded({ kind: 'llamacpp' }, ask)).toEqual([])
  const silent = () => Promise.reject(new Error('asked'))
  expect(await askLoaded({ kind: 'openai' }, silent)).toBeNull()
})
