/** Entry of the thread that counts tokens: a tokenizer's tables take a third of a second to load, and text its time. */
import { parentPort } from 'node:worker_threads'
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base'

export interface CountOrder {
  id: number
  texts: readonly string[]
}

export interface Counted {
  id: number
  /** Tokens of each text. */
  counts: number[]
}

// Merging is quadratic in the length of a run without breaks, and the text is the seller's choice. Cutting can only
// raise the count, by less than one token for each cut.
const sliceChars = 512
// Text that looks like a control token is text.
const plain = { disallowedSpecial: new Set<string>() }

function count(text: string): number {
  let tokens = 0
  for (let at = 0; at < text.length; at += sliceChars)
    tokens += countTokens(text.slice(at, at + sliceChars), plain)
  return tokens
}

parentPort?.on('message', ({ id, texts }: CountOrder) => {
  parentPort?.postMessage({ id, counts: texts.map(count) } satisfies Counted)
})
