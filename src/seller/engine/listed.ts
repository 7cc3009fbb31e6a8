/** Engines that list their models under /v1/models, or in the same shape elsewhere. */
import type { Ask } from './ask.ts'
import type { EngineModel } from './engine.ts'
import { recordOf, textOrNull, tokensOrNull, type Json } from './json.ts'

/** vLLM and SGLang say `max_model_len`; an adapter (LoRA) has its parent's. */
export function listServedModels(entries: Json[]): EngineModel[] {
  const contexts = new Map(entries.map((entry) => [entry['id'], contextOf(entry)]))
  return toModels(entries, (entry) => contextOf(entry) ?? contexts.get(entry['parent']) ?? null)
}

/** llama.cpp serves the context of one slot, which only newer builds list with the model. */
export async function listLlamaCppModels(ask: Ask, entries: Json[]): Promise<EngineModel[]> {
  const isComplete = entries.every((entry) => tokensOrNull(recordOf(entry['meta'])['n_ctx']) !== null)
  const props = isComplete ? null : await ask('/props')
  const settings = props?.kind === 'json' ? recordOf(props.value['default_generation_settings']) : {}
  // A router serves many models; its own settings are nobody's context.
  const slotContext = entries.length === 1 ? tokensOrNull(settings['n_ctx']) : null
  return toModels(
    entries,
    (entry) => tokensOrNull(recordOf(entry['meta'])['n_ctx']) ?? slotContext,
    (entry) =>
      textOrNull(recordOf(entry['meta'])['ftype']) ?? quantizationInName(textOrNull(entry['id']) ?? ''),
  )
}

/** LM Studio lists what it has downloaded; embedding models cannot chat. */
export function listLmStudioModels(entries: Json[]): EngineModel[] {
  return toModels(
    entries.filter((entry) => entry['type'] !== 'embeddings'),
    (entry) => tokensOrNull(entry['loaded_context_length']) ?? tokensOrNull(entry['max_context_length']),
    (entry) => textOrNull(entry['quantization']),
  )
}

function toModels(
  entries: Json[],
  maxContext: (entry: Json) => number | null,
  quantization: (entry: Json) => string | null = () => null,
): EngineModel[] {
  return entries.flatMap((entry) => {
    const id = textOrNull(entry['id'])
    return id === null ? [] : [{ id, maxContext: maxContext(entry), quantization: quantization(entry) }]
  })
}

function contextOf(entry: Json): number | null {
  return tokensOrNull(entry['max_model_len']) ?? tokensOrNull(entry['context_length'])
}

function quantizationInName(name: string): string | null {
  return (
    /(?:^|[-._])((?:I?Q\d(?:_[A-Z0-9]+)*)|BF16|F16|F32)(?:\.gguf)?$/i.exec(name)?.[1]?.toUpperCase() ?? null
  )
}
