/** How a watchtower stands: asked of the running one, or read from the database that it left. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Head } from '../chain/escrow.ts'
import type { Config } from '../config/config.ts'
import { openReader } from '../store/reader.ts'
import type { TowerClaimRow, WatchedRow } from '../store/tower-operations.ts'
import type { ClaimBook } from '../tower/claim-book.ts'
import type { Following } from '../tower/follow.ts'
import type { Guard } from '../tower/guard.ts'
import { parseAmount, type Usdc } from '../wire/amount.ts'
import {
  expectArray,
  expectInteger,
  expectObject,
  expectText,
  expectTimeSec,
  expectUint,
  optional,
} from '../wire/fields.ts'
import { checksummed, type Address } from '../wire/hex.ts'
import { callControl, type ControlRoutes } from './control.ts'
import type { TowerGas } from './tower-gas.ts'

/** Amounts in atomic USDC. */
export interface TowerStatus {
  running: boolean
  /** pays gas; null when the tower does not run */
  gasAddress: string | null
  /** null when no RPC answered soon, or the tower does not run */
  gas: TowerGas | null
  sellers: GuardedSeller[]
  rpcs: SeenRpc[]
}

export interface GuardedSeller {
  seller: string
  /** how many channels it could claim from */
  claims: number
  /** what these would bring beyond what the chain had when it was looked at last; null when the tower does not run */
  value: Usdc | null
  /** from how many of them a buyer withdraws; null as above */
  withdrawing: number | null
  /** when the newest of them came; null without any */
  newestMs: number | null
  /** when the seller answered last; null when it did not in this run */
  heardMs: number | null
}

/** An RPC by its host, and the newest block that it showed. */
export interface SeenRpc {
  name: string
  block: number | null
  blockAtSec: number | null
}

const gasWithinMs = 3000
const mostSellers = 10_000
const mostRpcs = 1000

export interface StatusParts {
  gasAddress: Address
  readGas: () => Promise<TowerGas>
  sellers: readonly string[]
  book: ClaimBook
  guard: Pick<Guard, 'seen'>
  followings: ReadonlyMap<string, Pick<Following, 'heardMs'>>
  heads: readonly { name: string; head: Head | null }[]
}

/** What other commands may ask of a running tower. */
export function towerControl(parts: StatusParts): ControlRoutes {
  const { book, guard, followings, heads } = parts
  return {
    status: async () => {
      const late = sleep(gasWithinMs, null, { ref: false })
      const gas = await Promise.race([parts.readGas().catch(() => null), late])
      const rows = book.all()
      return {
        gasAddress: checksummed(parts.gasAddress),
        gas: gas && { wei: String(gas.wei), claims: gas.claims === null ? null : String(gas.claims) },
        sellers: parts.sellers.map((seller) => {
          const own = rows.filter((row) => row.seller === seller)
          const value = own.reduce((sum, row) => sum + gainOf(row, guard), 0n)
          return {
            ...heldOf(seller, own),
            value: value.toString(),
            withdrawing: own.filter(({ channelId }) => guard.seen(channelId)?.withdrawing).length,
            heardMs: followings.get(seller)?.heardMs() ?? null,
          }
        }),
        rpcs: heads.map(({ name, head }) => ({
          name,
          block: head?.number ?? null,
          blockAtSec: head?.timestampSec ?? null,
        })),
      }
    },
  }
}

/** Throws `store_…`. */
export async function towerStatus(config: Config, signal: AbortSignal): Promise<TowerStatus> {
  const folder = config.paths.tower
  const answer = await callControl(folder, 'status', {}, signal)
  if (answer !== null) return parseStatus(answer.value)
  using store = openReader(`${folder}/tower.db`, 'tower')
  const watched: WatchedRow[] = store?.read('watchedSellers') ?? []
  const rows: TowerClaimRow[] = store?.read('loadClaims') ?? []
  const sellers = watched.map(({ seller }) => ({
    ...heldOf(
      seller,
      rows.filter((row) => row.seller === seller),
    ),
    value: null,
    withdrawing: null,
    heardMs: null,
  }))
  return { running: false, gasAddress: null, gas: null, sellers, rpcs: [] }
}

const heldOf = (seller: string, rows: readonly TowerClaimRow[]) => ({
  seller,
  claims: rows.length,
  newestMs: rows.reduce<number | null>((newest, { atMs }) => Math.max(newest ?? 0, atMs), null),
})

function gainOf({ channelId, totalClaimed }: TowerClaimRow, guard: StatusParts['guard']): Usdc {
  const claimed = guard.seen(channelId)?.totalClaimed ?? 0n
  return totalClaimed > claimed ? totalClaimed - claimed : 0n
}

function parseStatus(input: unknown): TowerStatus {
  const { gasAddress, gas, sellers, rpcs } = expectObject(input, 'status')
  return {
    running: true,
    gasAddress: expectText(gasAddress, 'gasAddress'),
    gas: optional(gas, (given) => {
      const { wei, claims } = expectObject(given, 'gas')
      return {
        wei: expectUint(wei, 'wei', 256),
        claims: optional(claims, (count) => expectUint(count, 'claims', 256)),
      }
    }),
    sellers: expectArray(sellers, 'sellers', mostSellers).map((entry) => {
      const { seller, claims, value, withdrawing, newestMs, heardMs } = expectObject(entry, 'seller')
      return {
        seller: expectText(seller, 'seller'),
        claims: expectInteger(claims, 'claims'),
        value: parseAmount(value, 'value'),
        withdrawing: expectInteger(withdrawing, 'withdrawing'),
        newestMs: optional(newestMs, (atMs) => expectInteger(atMs, 'newestMs')),
        heardMs: optional(heardMs, (atMs) => expectInteger(atMs, 'heardMs')),
      }
    }),
    rpcs: expectArray(rpcs, 'rpcs', mostRpcs).map((entry) => {
      const { name, block, blockAtSec } = expectObject(entry, 'rpc')
      return {
        name: expectText(name, 'name'),
        block: optional(block, (number) => expectInteger(number, 'block')),
        blockAtSec: optional(blockAtSec, (atSec) => expectTimeSec(atSec, 'blockAtSec')),
      }
    }),
  }
}
