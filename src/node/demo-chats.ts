/** The demo's customers: the unmodified openai client, several streamed chats at the same time. */
import OpenAI from 'openai'

export interface DemoChats {
  baseUrl: string
  model: string
  count: number
  /** How many chats there were before these; 0 unless told. */
  from?: number
  note: (text: string) => void
  signal: AbortSignal
}

const topics = ['markets', 'seeds', 'rivers', 'tides', 'maps', 'light', 'bread', 'bridges', 'clouds', 'time']

export async function chatAtOnce({
  baseUrl,
  model,
  count,
  from = 0,
  note,
  signal,
}: DemoChats): Promise<void> {
  const client = new OpenAI({ baseURL: baseUrl, apiKey: 'openseed-needs-none', maxRetries: 0 })
  await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const at = from + index
      const topic = topics[at % topics.length] ?? 'anything'
      const stream = await client.chat.completions.create(
        {
          model,
          stream: true,
          max_tokens: 40 + at * 5,
          messages: [{ role: 'user', content: `Tell me something about ${topic}, number ${at + 1}.` }],
        },
        { signal },
      )
      let text = ''
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? ''
      note(`  ${String(at + 1).padStart(2)}  ${shorten(text)}`)
    }),
  )
}

function shorten(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > 70 ? `${line.slice(0, 67)}...` : line
}
