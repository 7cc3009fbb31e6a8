/** Single transfers among the receipts: as a table, and one in full. */
import type { TransferView } from '../node/transfer-tools.ts'
import type { Print } from './print.ts'

export function transferTable(print: Print, transfers: readonly TransferView[]): string {
  return print.table(
    [
      { title: 'TIME' },
      { title: 'ROLE' },
      { title: 'WITH' },
      { title: 'MODEL' },
      { title: 'TRANSFER', align: 'right' },
      { title: 'STATE' },
      { title: 'FREE AGAIN IF UNUSED' },
      { title: 'NONCE', whole: true },
    ],
    transfers.map((one) => [
      one.at.replace(/\.\d+Z$/, 'Z'),
      one.role,
      one.role === 'buyer' ? one.seller : (one.buyer ?? '-'),
      one.model ?? '-',
      one.amountUsd,
      stateText(one),
      one.charged === null ? one.unlocksAt.replace(/\.\d+Z$/, 'Z') : '-',
      one.nonce.slice(0, 12),
    ]),
  )
}

export function transferText(print: Print, one: TransferView): string {
  return print.table(
    [{ title: 'TRANSFER' }, { title: one.nonce, whole: true }],
    [
      ['state', stateText(one)],
      ['time', one.at],
      ['seller', one.seller],
      ['buyer', one.buyer ?? '-'],
      ['model', one.model ?? '-'],
      ['amount', one.amountUsd],
      ['taken', one.charged === null ? 'not known yet' : one.charged === 0n ? 'nothing' : 'all of it'],
      ['free again if unused', one.charged === null ? one.unlocksAt : '-'],
      ['transaction', one.txHash ?? '-'],
      ['body hash', one.bodyHash],
    ],
  )
}

const stateText = ({ state, outcome }: TransferView) => (outcome === null ? state : `${state}: ${outcome}`)
