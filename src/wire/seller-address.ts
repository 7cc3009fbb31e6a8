/** How a buyer names a seller that is met by its peer id: `openseed://<peer id>`, without path or query. */
import { isPeerId, type PeerId } from './peer-id.ts'

const prefix = 'openseed://'

/** The address of a seller that is met by its peer id. */
export function peerAddress(peer: PeerId): string {
  return prefix + peer
}

/** The peer that an address names; null for a URL and for whatever else. A slash at the end is no harm. */
export function peerOfAddress(address: string): PeerId | null {
  if (!address.startsWith(prefix)) return null
  const name = address.slice(prefix.length).replace(/\/+$/, '')
  return isPeerId(name) ? name : null
}
