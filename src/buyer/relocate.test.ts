import { expect, test } from 'vitest'
import type { Channel } from './channel.ts'
import type { AnnouncedSeller } from './announced.ts'
import { relocate } from './relocate.ts'

const payTo = `0x${'11'.repeat(20)}` as const
const authorizer = `0x${'22'.repeat(20)}` as const
const stranger = `0x${'33'.repeat(20)}` as const

const channelAt = (sellerUrl: string, more: Partial<Channel> = {}) =>
  ({
    sellerUrl,
    state: 'open',
    config: { receiver: payTo, receiverAuthorizer: authorizer },
    ...more,
  }) as Channel

const announced = (url: string, over: Partial<AnnouncedSeller> = {}): AnnouncedSeller => ({
  peer: 'p',
  url,
  payTo,
  authorizer,
  models: null,
  isFull: false,
  ...over,
})

test('a channel follows its seller to where that is announced now', () => {
  const channel = channelAt('http://old')
  relocate([channel], [announced('openseed://p')])
  expect(channel.sellerUrl).toBe('openseed://p')
})

test('it stays where its seller is still announced, and when nobody knows better', () => {
  const channel = channelAt('http://old')
  relocate([channel], [announced('https://new'), announced('http://old')])
  relocate([channel], [announced('https://thief', { payTo: stranger })])
  relocate([channel], [announced('https://thief', { authorizer: stranger })])
  relocate([channel], [])
  expect(channel.sellerUrl).toBe('http://old')
})

test('a closed channel is history', () => {
  const channel = channelAt('http://old', { state: 'closed' })
  relocate([channel], [announced('https://new')])
  expect(channel.sellerUrl).toBe('http://old')
})
