/** Finds out what stands behind an address by what only that engine answers. */
import { OpenSeedError } from '../../base/errors.ts'
import { parseEngineError } from '../engine-error.ts'
import { openAsk, type Answer, type Ask, type AskOptions } from './ask.ts'
import { engineBaseUrl, type Engine, type EngineKind, type EngineModel } from './engine.ts'
import { recordsOf, textOrNull, type Json } from './json.ts'
import { listLlamaCppModels, listLmStudioModels, listServedModels } from './listed.ts'
import { listOllamaModels } from './ollama.ts'

/** Where engines listen unless told: Ollama, vLLM, llama.cpp (old and new), LM Studio, SGLang. */
export const defaultPorts: readonly number[] = [11434, 8000, 8080, 9931, 1234, 30000]

const discoverTimeoutMs = 1000
const probeTimeoutMs = 5000

/** Asks one address. Throws `engine_unavailable` with what was found instead of an engine. */
export async function probeEngine(url: string, signal: AbortSignal, apiKey?: string): Promise<Engine> {
  return probe(engineBaseUrl(url), { signal, apiKey, answerTimeoutMs: probeTimeoutMs })
}

/** Asks all default ports of this machine at once; what is silent for a second is not there. */
export async function findEngines(
  signal: AbortSignal,
  ports: readonly number[] = defaultPorts,
): Promise<Engine[]> {
  const options = { signal, answerTimeoutMs: discoverTimeoutMs }
  const found = await Promise.allSettled(
    ports.map(async (port) => probe(`http://127.0.0.1:${port}`, options)),
  )
  signal.throwIfAborted()
  return found.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
}

async function probe(baseUrl: string, options: AskOptions): Promise<Engine> {
  await using questions = openAsk(baseUrl, options)
  const { ask } = questions
  const [version, listing] = await Promise.all([ask('/api/version'), ask('/v1/models')])
  // llama.cpp and others imitate parts of Ollama's interface, but not its version.
  if (isOllamaVersion(version)) return { kind: 'ollama', baseUrl, models: await listOllamaModels(ask) }
  const entries = modelEntries(listing)
  if (entries === null) throw noEngine(baseUrl, listing)
  return { baseUrl, ...(await identify(ask, entries)) }
}

async function identify(ask: Ask, entries: Json[]): Promise<{ kind: EngineKind; models: EngineModel[] }> {
  const owner = entries[0]?.['owned_by']
  if (owner === 'vllm' || owner === 'sglang') return { kind: owner, models: listServedModels(entries) }
  if (owner === 'llamacpp') return { kind: 'llamacpp', models: await listLlamaCppModels(ask, entries) }
  // These answer unknown paths with 200 and an error text, so only shapes count.
  const [studio, props, sglang] = await Promise.all([
    ask('/api/v0/models'),
    ask('/props'),
    ask('/get_model_info'),
  ])
  const downloaded = modelEntries(studio)
  if (downloaded?.some((entry) => 'max_context_length' in entry)) {
    return { kind: 'lmstudio', models: listLmStudioModels(downloaded) }
  }
  if (hasField(props, 'default_generation_settings')) {
    return { kind: 'llamacpp', models: await listLlamaCppModels(ask, entries) }
  }
  if (hasField(sglang, 'model_path')) return { kind: 'sglang', models: listServedModels(entries) }
  return { kind: 'openai', models: listServedModels(entries) }
}

function isOllamaVersion(answer: Answer): boolean {
  return answer.kind === 'json' && answer.status === 200 && textOrNull(answer.value['version']) !== null
}

function modelEntries(answer: Answer): Json[] | null {
  if (answer.kind !== 'json' || answer.status !== 200 || !Array.isArray(answer.value['data'])) return null
  return recordsOf(answer.value['data'])
}

function hasField(answer: Answer, field: string): boolean {
  return answer.kind === 'json' && answer.status === 200 && answer.value[field] !== undefined
}

function noEngine(baseUrl: string, answer: Answer): OpenSeedError {
  if (answer.kind === 'unreachable') {
    return new OpenSeedError('engine_unavailable', {
      message: `Nothing answers at ${baseUrl}.`,
      hint: 'Start the engine, or name its address: openseed sell --engine URL',
      cause: answer.cause,
    })
  }
  const { status, message } = parseEngineError(
    answer.kind === 'json' ? JSON.stringify(answer.value) : answer.text,
    answer.status,
  )
  if (status === 401 || status === 403) {
    return new OpenSeedError('engine_unavailable', {
      message: `The engine at ${baseUrl} wants an API key (${status}).`,
      hint: 'Give the key that the engine was started with.',
    })
  }
  if (status === 503) {
    return new OpenSeedError('engine_unavailable', {
      message: `The engine at ${baseUrl} is not ready (503): ${message}`,
      hint: 'Wait until it has loaded its model, then try again.',
    })
  }
  return new OpenSeedError('engine_unavailable', {
    message: `What answers at ${baseUrl} is no inference engine: ${baseUrl}/v1/models gave ${status} and no list of models.`,
    hint: 'Ollama, vLLM, llama.cpp, LM Studio, SGLang and other OpenAI-compatible servers are known.',
  })
}
