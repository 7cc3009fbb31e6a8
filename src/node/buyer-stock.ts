/** What a buyer needs to pay sellers that speak x402 alone. Put together, no decisions. */
import { ExactBook, type ExactBookParts } from '../buyer/exact-book.ts'
import type { StockParts } from '../buyer/stock-exchange.ts'
import { StockLanes, type LaneParts } from '../buyer/stock-lanes.ts'
import { StockSellers } from '../buyer/stock-sellers.ts'

type BuyerStockOptions = Omit<StockParts, 'book' | 'sellers' | 'lanes'> &
  Omit<LaneParts, 'sellers'> &
  Omit<ExactBookParts, 'onTaken'> & {
    stop: AbortSignal
    track: (work: Promise<void>) => void
  }

const resolveEveryMs = 15_000

/** Starts with what the store knows; outcomes that are missing are asked of the chain in the background. */
export async function openBuyerStock(options: BuyerStockOptions): Promise<StockParts> {
  const sellers = new StockSellers()
  const onTaken = (sellerUrl: string) =>
    sellers.mark(sellerUrl, 'it took money for a request that it refused')
  const exact = await ExactBook.load({ ...options, onTaken })
  for (const sellerUrl of await exact.takers()) onTaken(sellerUrl)
  options.track(exact.watch(resolveEveryMs, options.stop))
  return { ...options, sellers, book: exact, lanes: new StockLanes({ ...options, sellers }) }
}
