import { keccak256 } from '../../wire/keccak.ts'
import type { Ask } from './ask.ts'
import type { EngineModel } from './engine.ts'
import { recordOf, recordsOf, textOrNull, tokensOrNull, type Json } from './json.ts'

// Ollama loads a model with a context by its VRAM, at least this, and silently cuts longer prompts.
const leastContext = 4096

/** The chat models of an Ollama, with the context it truly serves. */
export async function listOllamaModels(ask: Ask): Promise<EngineModel[]> {
  const [tags, running] = await Promise.all([ask('/api/tags'), ask('/api/ps')])
  const loaded = new Map<unknown, number | null>()
  if (running.kind === 'json') {
    for (const model of recordsOf(running.value['models'])) {
      loaded.set(model['name'], tokensOrNull(model['context_length']))
    }
  }
  const names = tags.kind === 'json' ? recordsOf(tags.value['models']) : []
  const models = await Promise.all(
    names.map(async (tag) => {
      const name = textOrNull(tag['name']) ?? textOrNull(tag['model'])
      if (name === null) return null
      const shown = await ask('/api/show', { model: name })
      return describe(name, tag, shown.kind === 'json' ? shown.value : {}, loaded.get(name) ?? null)
    }),
  )
  return models.filter((model) => model !== null)
}

function describe(name: string, tag: Json, shown: Json, loadedContext: number | null): EngineModel | null {
  const { capabilities } = shown
  // Versions before 0.6.4 name no capabilities; then every model is supposed to chat.
  if (Array.isArray(capabilities) && !capabilities.includes('completion')) return null
  const info = recordOf(shown['model_info'])
  const trained = tokensOrNull(info[`${String(info['general.architecture'])}.context_length`])
  const configured = contextParameter(textOrNull(shown['parameters']) ?? '')
  const served = loadedContext ?? configured ?? leastContext
  const details = recordOf(tag['details'])
  const template = textOrNull(shown['template'])
  return {
    id: name,
    maxContext: trained === null ? served : Math.min(served, trained),
    quantization: textOrNull(details['quantization_level']),
    ...(template !== null && { templateHash: keccak256(template) }),
  }
}

function contextParameter(parameters: string): number | null {
  const [, value] = /^num_ctx\s+(\d+)\s*$/m.exec(parameters) ?? []
  return tokensOrNull(Number(value))
}
