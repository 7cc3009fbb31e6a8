/** Where a channel's seller is now. Money is bound to who is paid and who signs, not to an address. */
import type { AnnouncedSeller } from './announced.ts'
import type { Channel } from './channel.ts'

/** Moves channels whose seller is not announced where it was to where it is announced. */
export function relocate(channels: readonly Channel[], sellers: readonly AnnouncedSeller[]): void {
  if (channels.length === 0) return
  const announced = new Set(sellers.map(({ url }) => url))
  const lost = channels.filter(({ sellerUrl, state }) => state !== 'closed' && !announced.has(sellerUrl))
  if (lost.length === 0) return
  const places = new Map(sellers.map(({ payTo, authorizer, url }) => [`${payTo} ${authorizer}`, url]))
  for (const channel of lost) {
    const { receiver, receiverAuthorizer } = channel.config
    channel.sellerUrl = places.get(`${receiver} ${receiverAuthorizer}`) ?? channel.sellerUrl
  }
}
