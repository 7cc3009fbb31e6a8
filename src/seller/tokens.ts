/** Our own token count, for engines that report none. An estimate: models have other tokenizers. */

export type TokenCounter = (text: string) => number

// Byte-pair merging is quadratic in the length of a run without breaks; a slice bounds what a run can cost.
const sliceChars = 512
const countedWholeChars = 16_384
const samples = 32

/** Loads the tokenizer (0.3 s, 10 MB) on first use; later calls resolve at once. */
export async function loadTokenCounter(): Promise<TokenCounter> {
  const { countTokens } = await import('gpt-tokenizer/encoding/o200k_base')
  // Text that looks like a control token is text.
  const plain = { disallowedSpecial: new Set<string>() }

  function countSlices(text: string): number {
    let count = 0
    for (let at = 0; at < text.length; at += sliceChars)
      count += countTokens(text.slice(at, at + sliceChars), plain)
    return count
  }

  return (text) => {
    if (text.length <= countedWholeChars) return countSlices(text)
    // Counting megabytes would stall every other stream: evenly spaced slices stand for the whole.
    const step = (text.length - sliceChars) / (samples - 1)
    let count = 0
    for (let i = 0; i < samples; i++) {
      const at = Math.floor(i * step)
      count += countTokens(text.slice(at, at + sliceChars), plain)
    }
    return Math.ceil((count * text.length) / (samples * sliceChars))
  }
}
