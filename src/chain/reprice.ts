import { crashPoint } from '../base/crash.ts'
import type { Log } from '../base/log.ts'
import type { Hex } from '../wire/hex.ts'
import { bumpFees, isOutbid, readFeeMarket } from './fees.ts'
import { newestCopy, type OutboxStore, type SignedRow } from './outbox-store.ts'
import { vouched } from './quorum.ts'
import type { Rpc } from './rpc.ts'
import { addressOfKey, offerOf, signCopy } from './transaction.ts'

// A transaction may wait for other reasons than its fee: without this limit a long outage would price it up for ever.
const mostHopeful = 8

/**
 * Gives a transaction that nobody mines a copy with a higher fee and the same nonce, stored before anybody sees it.
 * Gives the row back as it was when a higher fee would not help or cannot be paid.
 */
export function openRepricer({
  rpc,
  store,
  key,
  log,
}: {
  rpc: Rpc
  store: OutboxStore
  key: Hex
  log: Log
}): (row: SignedRow) => Promise<SignedRow> {
  const address = addressOfKey(key)

  async function balance(): Promise<bigint> {
    const told = await rpc.all(async (source) =>
      BigInt((await source.send('eth_getBalance', [address, 'latest'])) as string),
    )
    return vouched(told, rpc.needed(told.length)) ?? 0n
  }

  return async (row) => {
    const [market, held] = await Promise.all([readFeeMarket(rpc), balance()])
    const offered = offerOf(newestCopy(row).raw)
    if (row.copies.length > mostHopeful && !isOutbid(offered, market)) return row
    const fees = bumpFees(offered, market)
    const cost = offered.gasLimit * fees.maxFeePerGas
    if (held < cost) {
      log.error(
        { key: row.key, hash: row.hash, heldWei: held.toString(), neededWei: cost.toString() },
        'a transaction waits, and there is too little gas money to offer more',
      )
      return row
    }
    const copy = signCopy(row.raw, fees, key)
    await store.outboxBumped({ key: row.key, ...copy })
    crashPoint('outbox.bumped')
    log.warn(
      { key: row.key, hash: row.hash, replacedBy: copy.hash },
      'a waiting transaction offers a higher fee',
    )
    return { ...row, copies: [...row.copies, copy] }
  }
}
