/** What became of the requests a buyer has lost track of. */
import type { Final } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import type { ChannelBook } from './channel-book.ts'
import type { Entry } from './channel-entry.ts'

/** Finals of other requests that ride along with an answer: they never cost the answer itself. */
export async function finalsAlong(book: ChannelBook, entry: Entry, ids: readonly Hex[]): Promise<Final[]> {
  return finalsFor(book, entry, ids).catch(() => [])
}

/** Finals of these ids, in order: asking closes an id that was never seen at 0, for ever. */
export async function finalsFor(book: ChannelBook, entry: Entry, ids: readonly Hex[]): Promise<Final[]> {
  const finals: Final[] = []
  for (const id of ids) {
    const open = entry.ledger.open.get(id)
    const receipt = open === undefined ? await book.settleUnknown(entry, id) : null
    const ceiling = entry.ledger.open.get(id)?.ceiling
    if (receipt !== null) finals.push({ id, state: 'final', receipt })
    else if (ceiling !== undefined) finals.push({ id, state: 'open', ceiling })
  }
  return finals
}
