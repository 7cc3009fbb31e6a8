/** A real but very small text generator: a chain of words that follow each other in the text below. */

const corpus = `
A market is a place where strangers agree. The seller names a price and the buyer answers with a voucher. Nobody
stands between them, and nobody has to be trusted for longer than one sentence. A small machine in a quiet room can
sell its spare hours to a reader on the other side of the sea. The reader pays for every word and for nothing else.
When the words stop, the payment stops. When the reader leaves, the machine rests. A channel is a promise with a
number on it. The number only grows, and the last number is the one that counts. The seller keeps the last promise in
a safe place and takes it to the chain when the day is over. The chain checks the signature, moves the money, and
forgets the rest. A good price is honest and short. A good machine answers quickly and says how much it has used. The
buyer counts the words as they arrive and compares the count with the bill. If the bill is wrong, the buyer walks to
the next door. Every seed is small at first. Some seeds become trees, and some trees carry fruit for many years. An
open garden has no gate, only paths. Anyone may plant a seed, and anyone may ask for the fruit. The wind carries the
names of the gardens from one hill to the next, and the birds repeat only what was signed. A light in the window means
that somebody is at home and has room for one more guest. The night is long enough for many small tasks. In the
morning the machine reads its ledger, and every unit of money is where it should be.
`

const words = corpus.trim().split(/\s+/)
const followers = new Map<string, string[]>()
const openings: string[] = []
for (const [i, word] of words.entries()) {
  if (i === 0 || endsSentence(words[i - 1] ?? '')) openings.push(word)
  const next = words[i + 1]
  if (next !== undefined) followers.set(word, [...(followers.get(word) ?? []), next])
}

const leastWords = 40
const mostWords = 160

/** The words of one answer, each a token with its leading space; the same prompt gives the same words. */
export function* generateWords(prompt: string): Generator<string> {
  const random = randomFrom(hash(prompt))
  const pick = (from: readonly string[]): string => from[Math.floor(random() * from.length)] ?? ''
  const wanted = leastWords + Math.floor(random() * (mostWords - leastWords))
  let word = pick(openings)
  yield word
  for (let count = 1; count < wanted || !endsSentence(word); count++) {
    word = endsSentence(word) ? pick(openings) : pick(followers.get(word) ?? openings)
    yield ` ${word}`
  }
}

/** Its own count of a prompt, in the same words that it writes. */
export function countWords(text: string): number {
  return text.split(/\s+/).filter((word) => word !== '').length
}

function endsSentence(word: string): boolean {
  return word.endsWith('.')
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}

/** Mulberry32: 0 <= x < 1. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
