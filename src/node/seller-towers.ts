/** The seller's watchtowers: where they are kept, and what other commands may ask about them. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { SellerStore } from '../seller/channel-book.ts'
import { openTowerDesk, type PairedTower, type TowerDesk, type TowerView } from '../seller/tower-desk.ts'
import { TowerFeed } from '../seller/tower-feed.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { expectArray, expectInteger, expectObject, expectText } from '../wire/fields.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { asPeerId } from '../wire/peer-id.ts'
import type { ControlRoutes } from './control.ts'

/** Where the paired towers are kept, in the seller's database. */
const towersKey = 'towers'
const mostKept = 64

export interface SellerTowers {
  feed: TowerFeed
  desk: TowerDesk
  control: ControlRoutes
}

export async function openSellerTowers(seller: {
  network: NetworkTerms
  digests: Digests
  key: Hex
  payTo: Address
  store: SellerStore
  now: Clock
  log: Log
}): Promise<SellerTowers> {
  const { network, digests, key, payTo, store, now, log } = seller
  const feed = new TowerFeed({ epoch: randomBytes(8).toString('hex'), digests, curve, key })
  const desk = await openTowerDesk({
    feed,
    pairing: {
      network: network.caip2,
      escrow: network.escrow,
      asset: network.asset,
      payTo,
      receiverAuthorizer: curve.addressOf(key),
    },
    load: async () => parseTowers(await store.read('getMeta', { key: towersKey })),
    save: (towers) => store.run('setMeta', { key: towersKey, value: JSON.stringify(towers) }),
    now,
    log,
  })
  const control: ControlRoutes = {
    towerCode: async () => desk.offerCode(),
    towers: async () => ({ towers: desk.list() }),
    removeTower: async ({ peer }) => ({ removed: await desk.remove(asPeerId(peer)) }),
  }
  return { feed, desk, control }
}

function parseTowers(text: string | null): PairedTower[] {
  return expectArray(JSON.parse(text ?? '[]'), 'towers', mostKept).map(parseTower)
}

function parseTower(input: unknown): PairedTower {
  const { peer, name, pairedAtMs } = expectObject(input, 'tower')
  return {
    peer: asPeerId(peer),
    name: expectText(name, 'name'),
    pairedAtMs: expectInteger(pairedAtMs, 'pairedAtMs'),
  }
}

/** The list as `control` answered it. */
export function parseTowerViews(input: unknown): TowerView[] {
  const { towers } = expectObject(input, 'answer')
  return expectArray(towers, 'towers', mostKept).map((entry) => {
    const { lastHeardMs, behind } = expectObject(entry, 'tower')
    return {
      ...parseTower(entry),
      lastHeardMs: lastHeardMs === null ? null : expectInteger(lastHeardMs, 'lastHeardMs'),
      behind: expectInteger(behind, 'behind'),
    }
  })
}
