/** Each mutant drops one clause of the admission rules from the real source; the model must notice every one. */
import { readFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import * as buyer from '../../src/buyer/ledger.ts'
import * as seller from '../../src/seller/ledger.ts'
import type { Rules } from './world.ts'

interface Mutant {
  clause: string
  side: 'buyer' | 'seller'
  from: string
  to: string
}

export const mutants: Mutant[] = [
  { clause: 'id new', side: 'seller', from: 'if (!ask.isNew)', to: 'if (false)' },
  { clause: 'now <= admitBy', side: 'seller', from: 'nowSec > ask.admitBySec ||', to: 'false ||' },
  {
    clause: 'ids forgotten by an old backup stay dead',
    side: 'seller',
    from: '|| ask.admitBySec < ledger.admitFloorSec',
    to: '',
  },
  {
    clause: 'nothing is admitted during a withdrawal',
    side: 'seller',
    from: "if (ledger.withdrawing > 0n) return { kind: 'refuse', reason: 'withdrawing' }\n  const limit",
    to: 'const limit',
  },
  {
    clause: 'charged + held + amount <= avail',
    side: 'seller',
    from: 'if (needed > limit)',
    to: 'if (false)',
  },
  {
    clause: 'charged + held + amount <= max(signed, v)',
    side: 'seller',
    from: 'if (needed > max(ledger.signed, ask.voucher))',
    to: 'if (false)',
  },
  {
    clause: 'held counts running requests',
    side: 'seller',
    from: 'for (const row of ledger.open.values()) sum += row.ceiling',
    to: '',
  },
  {
    clause: 'signed := max(signed, v)',
    side: 'seller',
    from: 'ledger.signed = max(ledger.signed, ask.voucher)\n  ledger.open.set(id, { ceiling: ask.amount, meter: 0n })\n}\n\n/** Opens the row of an admitted stock',
    to: 'ledger.signed = ask.voucher\n  ledger.open.set(id, { ceiling: ask.amount, meter: 0n })\n}\n\n/** Opens the row of an admitted stock',
  },
  {
    clause: 'headroom needs no newer voucher',
    side: 'seller',
    from: 'needed > max(ledger.signed, ask.voucher)',
    to: 'needed > ask.voucher',
  },
  {
    clause: 'a charge is cut at the ceiling',
    side: 'seller',
    from: 'min(max(cost, row.meter), row.ceiling)',
    to: 'max(cost, row.meter)',
  },
  { clause: 'finish closes the row', side: 'seller', from: 'ledger.open.delete(id)', to: '' },
  {
    clause: 'stock: charged + held + amount <= v',
    side: 'seller',
    from: 'if (ask.voucher < base + ask.amount)',
    to: 'if (false)',
  },
  {
    clause: 'stock: v <= told + amount',
    side: 'seller',
    from: 'if (ask.voucher > ledger.told + ask.amount)',
    to: 'if (false)',
  },
  {
    clause: 'stock: told := v - amount',
    side: 'seller',
    from: 'ledger.told = ask.voucher - ask.amount',
    to: '',
  },
  { clause: 'told follows what is stated', side: 'seller', from: 'ledger.told = cumulative', to: '' },
  {
    clause: 'refund leaves charged and held',
    side: 'seller',
    from: 'const free = available(ledger) - ledger.charged - held(ledger)',
    to: 'const free = available(ledger)',
  },
  {
    clause: 'a claim proves charges a backup forgot',
    side: 'seller',
    from: 'if (ledger.totalClaimed > ledger.charged)',
    to: 'if (false)',
  },
  {
    clause: 'a charge is proven by a receipt, never by a voucher',
    side: 'seller',
    from: 'catchUp(ledger, receiptCumulative, voucher)',
    to: 'catchUp(ledger, voucher, voucher)',
  },
  {
    clause: 'rows of a stale store are not charged again',
    side: 'seller',
    from: 'if (stale) for (const row of ledger.open.values()) row.meter = 0n',
    to: '',
  },
  {
    clause: 'a withdrawal lowers what is available',
    side: 'seller',
    from: 'ledger.withdrawing = chain.withdrawing',
    to: '',
  },
  {
    clause: 'claims take exactly what is charged',
    side: 'seller',
    from: 'min(ledger.charged, ledger.balance)',
    to: 'min(ledger.signed, ledger.balance)',
  },
  {
    clause: 'an unknown outcome counts at its full ceiling',
    side: 'buyer',
    from: 'for (const row of ledger.open.values()) sum += row.ceiling',
    to: 'for (const row of ledger.open.values()) if (!row.lost) sum += row.ceiling',
  },
  {
    clause: 'the mirror counts running requests',
    side: 'buyer',
    from: 'for (const row of ledger.open.values()) sum += row.ceiling',
    to: '',
  },
  {
    clause: 'a voucher stays within the balance',
    side: 'buyer',
    from: 'if (needed > ledger.balance)',
    to: 'if (false)',
  },
  {
    clause: 'the highest voucher is sent again only when it fits the balance',
    side: 'buyer',
    from: '&& ledger.signed <= ledger.balance',
    to: '',
  },
  {
    clause: 'a refund asked for lowers the balance',
    side: 'buyer',
    from: 'ledger.balance -= amount',
    to: '',
  },
  {
    clause: 'a lost store waits out what it forgot',
    side: 'buyer',
    from: 'if (times.nowSec <= untilSec)',
    to: 'if (false)',
  },
  {
    clause: 'a snapshot brings the running requests along',
    side: 'buyer',
    from: 'for (const row of snapshot.open) ledger.open.set',
    to: 'for (const row of []) ledger.open.set',
  },
  { clause: 'a final is booked once', side: 'buyer', from: 'ledger.open.delete(id)', to: '' },
]

const sources = {
  buyer: new URL('../../src/buyer/ledger.ts', import.meta.url),
  seller: new URL('../../src/seller/ledger.ts', import.meta.url),
}

/** Imports the ledger with the clause taken out. Throws when the clause is not in the source (any more). */
export async function loadMutant(mutant: Mutant): Promise<Rules> {
  const source = await readFile(sources[mutant.side], 'utf8')
  if (source.split(mutant.from).length !== 2)
    throw new Error(`not exactly once in the source: ${mutant.from}`)
  const code = stripTypeScriptTypes(source.replace(mutant.from, mutant.to))
  const mutated: unknown = await import(`data:text/javascript,${encodeURIComponent(code)}`)
  return mutant.side === 'seller'
    ? { buyer, seller: mutated as typeof seller }
    : { seller, buyer: mutated as typeof buyer }
}
