/** What a watchtower pays gas with: what a claim costs now, and how many more it can pay for. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import { readDataFees } from '../chain/data-fee.ts'
import type { Escrow } from '../chain/escrow.ts'
import { weiPerGas } from '../chain/fees.ts'
import { rowBytes, rowGas } from '../tower/judge-claim.ts'
import type { Address } from '../wire/hex.ts'

export interface TowerPurse {
  escrow: Escrow
  /** the account that pays */
  address: Address
  /** whether transactions pay for their bytes, besides gas */
  paysForData: boolean
}

export interface TowerGas {
  wei: bigint
  /** how many claims that pays for; null where gas costs nothing */
  claims: bigint | null
}

const gasEveryMs = 60 * 60_000
const fewClaims = 20n

/** What one claim would pay now, in wei. Throws `chain_…`. */
export async function claimWei({
  escrow: { rpc },
  paysForData,
}: Omit<TowerPurse, 'address'>): Promise<bigint> {
  const [wei, [dataFee = 0n]] = await Promise.all([
    weiPerGas(rpc),
    paysForData ? readDataFees(rpc, [rowBytes]) : [],
  ])
  return BigInt(rowGas) * wei + dataFee
}

/** Throws `chain_…`. */
export async function readGas(purse: TowerPurse): Promise<TowerGas> {
  const [wei, price] = await Promise.all([purse.escrow.nativeBalance(purse.address), claimWei(purse)])
  return { wei, claims: price === 0n ? null : wei / price }
}

export async function warnOfLowGas(purse: TowerPurse, log: Log, signal: AbortSignal): Promise<void> {
  const { address } = purse
  while (!signal.aborted) {
    try {
      const { wei, claims } = await readGas(purse)
      if (claims !== null && claims < fewClaims)
        log.warn(
          { address, wei: wei.toString(), claims: Number(claims) },
          "the watchtower has little to pay gas with; send some of the chain's coin to this address",
        )
    } catch (err) {
      log.debug({ err }, 'the balance for gas was not read')
    }
    await sleep(gasEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}
