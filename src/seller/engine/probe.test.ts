import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import * as replies from '../../../test/fixtures/engine-replies.ts'
import { startScriptedEngine } from '../../../test/fixtures/scripted-engine.ts'
import { engineBaseUrl } from './engine.ts'
import { findEngines, probeEngine } from './probe.ts'

const never = new AbortController().signal

/** Serves recorded replies; what is not recorded is 404, as these servers do (but see LM Studio). */
async function serve(recorded: Record<string, { status?: number; body: unknown }>): Promise<number> {
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const model = request.method === 'POST' ? ` ${await modelIn(request)}` : ''
    const reply = recorded[`${request.url}${model}`] ??
      recorded['*'] ?? { status: 404, body: { detail: 'Not Found' } }
    response.writeHead(reply.status ?? 200, { 'content-type': 'application/json' })
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body))
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}

async function modelIn(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return (JSON.parse(Buffer.concat(chunks).toString()) as { model: string }).model
}

async function probed(recorded: Record<string, { status?: number; body: unknown }>) {
  const { kind, models } = await probeEngine(`http://127.0.0.1:${await serve(recorded)}`, never)
  return { kind, models: models.map((model) => [model.id, model.maxContext, model.quantization]) }
}

test('Ollama is known by its version; a context is the loaded, the configured, or the least it serves', async () => {
  expect(await probed(replies.ollama)).toEqual({
    kind: 'ollama',
    models: [
      ['llama3:latest', 4096, 'Q4_0'],
      ['qwen3:8b', 32768, 'Q4_K_M'],
      ['phi3:mini', 16384, 'Q4_0'],
    ],
  })
})

test('vLLM is known by its models, and an adapter has the context of its parent', async () => {
  expect(await probed(replies.vllm)).toEqual({
    kind: 'vllm',
    models: [
      ['Qwen/Qwen2.5-7B-Instruct', 32768, null],
      ['sql-lora', 32768, null],
    ],
  })
})

test('llama.cpp lists the context of a slot, older builds in their settings', async () => {
  const id = 'models/gemma-4-12B-it-Q8_0.gguf'
  expect(await probed(replies.llamaCpp)).toEqual({ kind: 'llamacpp', models: [[id, 193024, 'Q8_0']] })
  expect(await probed(replies.olderLlamaCpp)).toEqual({ kind: 'llamacpp', models: [[id, 8192, 'Q8_0']] })
})

test('a llama.cpp router does not say which context its models will have', async () => {
  expect(await probed(replies.llamaCppRouter)).toEqual({
    kind: 'llamacpp',
    models: [
      ['Qwen3-0.6B-Q4_K_M', null, 'Q4_K_M'],
      ['gpt-oss-20b', null, null],
    ],
  })
})

test('LM Studio is known although it answers every path, and its embedding models are left out', async () => {
  expect(await probed(replies.lmStudio)).toEqual({
    kind: 'lmstudio',
    models: [
      ['qwen2-vl-7b-instruct', 32768, '4bit'],
      ['meta-llama-3.1-8b-instruct', 16384, 'Q4_K_M'],
    ],
  })
})

test('SGLang is known by its models or by its own route', async () => {
  const models = [['qwen/qwen2.5-0.5b-instruct', 32768, null]]
  expect(await probed(replies.sglang)).toEqual({ kind: 'sglang', models })
  expect(await probed(replies.renamedSglang)).toEqual({ kind: 'sglang', models })
})

test('anything else that lists models is OpenAI-compatible', async () => {
  expect(await probed(replies.other)).toEqual({ kind: 'openai', models: [['some-model', 4000, null]] })
})

test('an address with /v1, with slashes or without a scheme means the same engine', async () => {
  const port = await serve(replies.vllm)
  for (const url of [`http://127.0.0.1:${port}/v1`, `http://127.0.0.1:${port}/v1/`, `127.0.0.1:${port}`]) {
    expect(await probeEngine(url, never)).toMatchObject({ kind: 'vllm', baseUrl: `http://127.0.0.1:${port}` })
  }
  expect(engineBaseUrl('https://host/engines/a/v1/')).toBe('https://host/engines/a')
  for (const bad of ['http://', 'http://me:secret@host', '::']) {
    expect(() => engineBaseUrl(bad)).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  }
})

test.each([
  ['an engine that loads', replies.llamaCppLoading, 'not ready (503): Loading model'],
  [
    'a locked engine',
    { '/v1/models': { status: 401, body: { error: 'Unauthorized' } } },
    'wants an API key (401)',
  ],
  ['a web page', { '*': { body: '<html></html>' } }, 'no inference engine'],
  ['another API', { '/v1/models': { body: { data: 'nothing' } } }, 'no inference engine'],
])('%s is engine_unavailable and says why', async (_name, recorded, why) => {
  const url = `http://127.0.0.1:${await serve(recorded)}`
  await expect(probeEngine(url, never)).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: expect.stringContaining(why),
  })
})

test('an address where nothing answers is engine_unavailable with what to do', async () => {
  const engine = await startScriptedEngine()
  await engine.close()
  await expect(probeEngine(engine.url, never)).rejects.toMatchObject({
    code: 'engine_unavailable',
    message: `Nothing answers at ${engine.url}.`,
    hint: expect.stringContaining('--engine'),
  })
})

test('all engines on the given ports are found, and an aborted search says so', async () => {
  const silent = await startScriptedEngine()
  await silent.close()
  const ports = [await serve(replies.ollama), Number(new URL(silent.url).port), await serve(replies.vllm)]
  expect((await findEngines(never, ports)).map((engine) => engine.kind)).toEqual(['ollama', 'vllm'])
  await expect(findEngines(AbortSignal.abort(new Error('enough')), ports)).rejects.toThrow('enough')
})

test('the key goes with every question', async () => {
  const asked: (string | undefined)[] = []
  const server = createServer((request, response) => {
    asked.push(request.headers.authorization)
    response.end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await expect(probeEngine(url, never, 'secret')).rejects.toMatchObject({ code: 'engine_unavailable' })
  expect(new Set(asked)).toEqual(new Set(['Bearer secret']))
})
