/** Which models an engine has in memory now: the ones that answer without being loaded first. */
import type { Ask } from './ask.ts'
import type { Engine } from './engine.ts'
import { recordOf, recordsOf, textOrNull, type Json } from './json.ts'

/** Ids of the loaded models; null when the engine does not tell, or does not answer. */
export async function askLoaded(engine: Pick<Engine, 'kind'>, ask: Ask): Promise<string[] | null> {
  switch (engine.kind) {
    case 'ollama':
      return idsOf(await listed(ask, '/api/ps', 'models'), 'name')
    case 'lmstudio':
      return idsOf(await listed(ask, '/api/v0/models', 'data'), 'id', ({ state }) => state === 'loaded')
    case 'vllm':
    case 'sglang':
      return idsOf(await listed(ask, '/v1/models', 'data'), 'id')
    case 'llamacpp':
      // Its router lists models that it would have to load; one that serves a single model says nothing of states.
      return idsOf(await listed(ask, '/v1/models', 'data'), 'id', ({ status }) => {
        const state = recordOf(status)['value']
        return state === undefined || state === 'loaded'
      })
    default:
      return null
  }
}

async function listed(ask: Ask, path: string, member: string): Promise<Json[] | null> {
  const answer = await ask(path)
  if (answer.kind !== 'json' || answer.status !== 200 || !Array.isArray(answer.value[member])) return null
  return recordsOf(answer.value[member])
}

function idsOf(
  entries: Json[] | null,
  member: string,
  isLoaded: (entry: Json) => boolean = () => true,
): string[] | null {
  return entries && entries.filter(isLoaded).flatMap((entry) => textOrNull(entry[member]) ?? [])
}
