import { OpenSeedError } from '../../base/errors.ts'
import type { Hex } from '../../wire/hex.ts'

export type EngineKind = 'ollama' | 'vllm' | 'llamacpp' | 'lmstudio' | 'sglang' | 'openai'

export interface EngineModel {
  id: string
  /** Tokens truly served per request, prompt and answer together; null when the engine does not say. */
  maxContext: number | null
  quantization: string | null
  /** keccak256 of the chat template; absent when the engine does not tell it. */
  templateHash?: Hex
}

export interface Engine {
  kind: EngineKind
  /** Without a trailing slash and without `/v1`. */
  baseUrl: string
  models: EngineModel[]
}

/** Takes what people paste, with or without scheme and `/v1`, and returns the address below which `/v1` lies. */
export function engineBaseUrl(input: string): string {
  const text = /^https?:\/\//i.test(input) ? input : `http://${input}`
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || url.username !== '' || url.password !== '') {
    throw new OpenSeedError('config_invalid', {
      message: 'The engine address is not an http or https URL without credentials.',
      hint: 'openseed sell --engine http://127.0.0.1:11434',
    })
  }
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
}
