/** What a seller tells its watchtowers: for each channel, all that it takes to claim what is charged there. */
import { parseAmount, type Usdc } from './amount.ts'
import { encodeChannelConfig, parseChannelConfig, type ChannelConfig } from './channel.ts'
import { expectArray, expectObject, expectText, refuseMessage } from './fields.ts'
import { asAddress, asHex, checksummed, type Address, type Hex } from './hex.ts'

/** A channel as it stands. Amounts are cumulative; both signatures are 65 bytes. */
export interface TowerUpdate {
  config: ChannelConfig
  /** What the buyer signed for. */
  maxClaimable: Usdc
  /** The buyer's signature over it. */
  voucher: Hex
  /** What the seller takes of it. */
  totalClaimed: Usdc
  /** The seller's signature over the claim of this one row: anyone may send it, and it pays the receiver alone. */
  claim: Hex
}

/** One answer to a tower. */
export interface TowerPage {
  updates: TowerUpdate[]
  /** Said in the next question once the updates are on disk. */
  cursor: string
  /** There are further updates already. */
  more: boolean
}

/** Who the seller is, as a tower keeps it from the pairing on. */
export interface TowerPairing {
  /** CAIP-2. */
  network: string
  escrow: Address
  asset: Address
  payTo: Address
  receiverAuthorizer: Address
}

/** The most updates of one page. */
export const mostUpdates = 100
/** The longest that a page is as JSON, in bytes. */
export const mostPageBytes = 256 * 1024

/** Where a tower pairs. */
export const towerPairPath = '/openseed/v1/tower/pair'
/** Where a tower asks for updates. */
export const towerUpdatesPath = '/openseed/v1/tower/updates'

/** The JSON form. */
export function encodeTowerPage({ updates, cursor, more }: TowerPage): Record<string, unknown> {
  return {
    updates: updates.map((update) => ({
      config: encodeChannelConfig(update.config),
      maxClaimable: update.maxClaimable.toString(),
      voucher: update.voucher,
      totalClaimed: update.totalClaimed.toString(),
      claim: update.claim,
    })),
    cursor,
    more,
  }
}

/** Parses the JSON form. No signature is checked. Throws `invalid_message`. */
export function parseTowerPage(input: unknown): TowerPage {
  const { updates, cursor, more } = expectObject(input, 'page')
  return {
    updates: expectArray(updates, 'updates', mostUpdates).map(parseUpdate),
    cursor: asTowerCursor(cursor),
    more: more === true,
  }
}

function parseUpdate(input: unknown): TowerUpdate {
  const { config, maxClaimable, voucher, totalClaimed, claim } = expectObject(input, 'update')
  return {
    config: parseChannelConfig(config),
    maxClaimable: parseAmount(maxClaimable, 'maxClaimable'),
    voucher: asSignature(voucher, 'voucher'),
    totalClaimed: parseAmount(totalClaimed, 'totalClaimed'),
    claim: asSignature(claim, 'claim'),
  }
}

/** A cursor as sellers make them: up to 64 letters, digits, dots and hyphens. Throws `invalid_message`. */
export function asTowerCursor(input: unknown): string {
  const cursor = expectText(input, 'cursor', 64)
  return /^[\w.-]+$/.test(cursor) ? cursor : refuseMessage('cursor', 'a cursor that this seller gave')
}

function asSignature(input: unknown, name: string): Hex {
  const signature = asHex(input, name)
  return signature.length === 132 ? signature : refuseMessage(name, 'a signature of 65 bytes')
}

/** The JSON form. */
export function encodeTowerPairing(pairing: TowerPairing): Record<string, string> {
  return {
    network: pairing.network,
    escrow: checksummed(pairing.escrow),
    asset: checksummed(pairing.asset),
    payTo: checksummed(pairing.payTo),
    receiverAuthorizer: checksummed(pairing.receiverAuthorizer),
  }
}

/** Parses the JSON form. Throws `invalid_message`. */
export function parseTowerPairing(input: unknown): TowerPairing {
  const { network, escrow, asset, payTo, receiverAuthorizer } = expectObject(input, 'pairing')
  return {
    network: expectText(network, 'network', 64),
    escrow: asAddress(escrow, 'escrow'),
    asset: asAddress(asset, 'asset'),
    payTo: asAddress(payTo, 'payTo'),
    receiverAuthorizer: asAddress(receiverAuthorizer, 'receiverAuthorizer'),
  }
}
