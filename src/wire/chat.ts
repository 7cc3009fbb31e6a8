import { OpenSeedError } from '../base/errors.ts'

/** A chat completion request: the client's JSON and what we must know of it. All else is forwarded as it is. */
export interface ChatRequest {
  json: Record<string, unknown>
  model: string
  stream: boolean
  /** The client asked for the usage chunk of a stream. */
  wantsUsage: boolean
}

/** Parses a body that must be a JSON object in valid UTF-8. Throws `invalid_json`. */
export function parseJsonBody(bytes: Uint8Array): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    // The parser's message quotes the body, which may hold a prompt.
    throw new OpenSeedError('invalid_json', { message: 'The body is not valid JSON in UTF-8.' })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new OpenSeedError('invalid_json', { message: 'The body must be a JSON object.' })
  return json as Record<string, unknown>
}

/** Reads the fields that routing and metering need. Throws `invalid_request` with `details.param`. */
export function parseChatRequest(json: Record<string, unknown>): ChatRequest {
  const { model } = json
  if (typeof model !== 'string' || model.length === 0) throw refusal('model', 'model must name a model.')
  const stream = json['stream'] ?? false
  if (typeof stream !== 'boolean') throw refusal('stream', 'stream must be true or false.')
  const options = streamOptions(json)
  const include = options['include_usage'] ?? false
  if (typeof include !== 'boolean')
    throw refusal('stream_options.include_usage', 'stream_options.include_usage must be true or false.')
  return { json, model, stream, wantsUsage: stream && include }
}

/**
 * The body for the engine: the output limit is the one the ceiling was computed with, in the client's spelling
 * (`max_tokens` if it gave none), and a stream always ends with usage. Throws `invalid_request` when the body nests
 * too deep to be written again.
 */
export function engineBody(chat: ChatRequest, maxOutput: number): string {
  const body: Record<string, unknown> = { ...chat.json }
  const spellings = ['max_completion_tokens', 'max_tokens'].filter((key) => (body[key] ?? null) !== null)
  for (const key of spellings.length === 0 ? ['max_tokens'] : spellings) body[key] = maxOutput
  if (chat.stream) body['stream_options'] = { ...streamOptions(chat.json), include_usage: true }
  try {
    return JSON.stringify(body)
  } catch {
    throw new OpenSeedError('invalid_request', { message: 'The body nests too deep.' })
  }
}

function streamOptions(json: Record<string, unknown>): Record<string, unknown> {
  const options = json['stream_options'] ?? {}
  if (typeof options !== 'object' || Array.isArray(options))
    throw refusal('stream_options', 'stream_options must be an object.')
  return options as Record<string, unknown>
}

function refusal(param: string, message: string): OpenSeedError {
  return new OpenSeedError('invalid_request', { message, details: { param } })
}
