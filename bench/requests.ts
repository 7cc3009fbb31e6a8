/** What is asked for, the same from every target. */

export const benchModel = 'bench-model'
export const promptTokens = 20

export interface Load {
  name: string
  body: Buffer
  /** Server-sent events of one answer, `[DONE]` among them; null for a plain one. */
  events: number | null
}

/** An answer of about 400 bytes. */
export const plain: Load = { name: 'plain', body: chat({ max_tokens: 40 }), events: null }

/** Its end takes three events: the finish reason, the usage, `[DONE]`. */
export const stream = (events: number): Load => ({
  name: `stream ${events}`,
  body: chat({ max_tokens: events - 3, stream: true, stream_options: { include_usage: true } }),
  events,
})

function chat(parameters: Record<string, unknown>): Buffer {
  const content = 'Say the same word again and again until you are told to stop.'
  return Buffer.from(
    JSON.stringify({ model: benchModel, messages: [{ role: 'user', content }], ...parameters }),
  )
}
