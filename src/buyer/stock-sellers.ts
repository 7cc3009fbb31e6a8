/** What this session knows of sellers that speak x402 and nothing of ours: whom they are paid to, and who cheated. */
import type { StockParty } from './guardrails.ts'
import type { ReplyEnd } from './stock-reply.ts'

// A line may break; a seller whose paid answers keep breaking is as good as one that sends none.
const mostBroken = 3

export class StockSellers {
  readonly #parties = new Map<string, StockParty>()
  readonly #distrusted = new Map<string, string>()
  readonly #broken = new Map<string, number>()

  /** Whom it named when it was paid first; null before. */
  party(sellerUrl: string): StockParty | null {
    return this.#parties.get(sellerUrl) ?? null
  }

  pin(sellerUrl: string, party: StockParty): void {
    this.#parties.set(sellerUrl, party)
  }

  /** Why nothing more is signed for it; null when there is no reason. */
  distrust(sellerUrl: string): string | null {
    return this.#distrusted.get(sellerUrl) ?? null
  }

  mark(sellerUrl: string, why: string): void {
    this.#distrusted.set(sellerUrl, why)
  }

  /** How an answer that was paid for ended. */
  noteEnd(sellerUrl: string, how: ReplyEnd): void {
    if (how.kind === 'answer') this.#broken.delete(sellerUrl)
    if (how.kind === 'junk') this.mark(sellerUrl, `it was paid and delivered no answer: ${how.why}`)
    if (how.kind !== 'broken') return
    const count = (this.#broken.get(sellerUrl) ?? 0) + 1
    this.#broken.set(sellerUrl, count)
    if (count >= mostBroken) this.mark(sellerUrl, `${count} answers that were paid broke off (${how.why})`)
  }
}
