/** A seller as its watchtower asks it. */
import { hostname } from 'node:os'
import type { Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient, SellerReply } from '../net/seller-client.ts'
import type { NodeKey } from '../wire/node-key.ts'
import { encodePairRequest, normalCode, towerAuthorization } from '../wire/tower-auth.ts'
import {
  mostPageBytes,
  parseTowerPage,
  parseTowerPairing,
  towerPairPath,
  towerUpdatesPath,
  type TowerPage,
  type TowerPairing,
} from '../wire/tower.ts'

export interface SellerSource {
  /** Throws `pairing_refused`, and what the way to the seller throws. */
  pair(code: string, signal: AbortSignal): Promise<TowerPairing>
  /** Waits for news, for less than a minute. Throws `tower_unknown`, `clock_skewed`, and what the way throws. */
  updates(seller: TowerPairing, since: string, signal: AbortSignal): Promise<TowerPage>
}

const answerMs = 15_000
// Longer than a seller waits for news.
const pageMs = 45_000
const passedOn = ['pairing_refused', 'tower_unknown', 'clock_skewed', 'invalid_signature'] as const

export function openSellerSource(client: SellerClient, key: NodeKey, now: Clock): SellerSource {
  let lastMs = 0

  async function read(reply: SellerReply): Promise<unknown> {
    const body = await readBody(reply.body, mostPageBytes)
    const json = parseJson(body)
    if (reply.status !== 200) throw refusal(client.url, reply.status, json)
    return json
  }

  return {
    async pair(code, signal) {
      const body = encodePairRequest(key, normalCode(code), (hostname() || 'watchtower').slice(0, 64))
      const reply = await client.request({
        method: 'POST',
        path: towerPairPath,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal,
        firstByteTimeoutMs: answerMs,
        idleTimeoutMs: answerMs,
      })
      const json = await read(reply)
      return understood(client.url, () => parseTowerPairing(json))
    },
    async updates(seller, since, signal) {
      // Each question is good once: its moment is later than that of the last.
      lastMs = Math.max(now(), lastMs + 1)
      const reply = await client.request({
        method: 'GET',
        path: `${towerUpdatesPath}?since=${encodeURIComponent(since)}`,
        headers: { authorization: towerAuthorization(key, seller, { atMs: lastMs, since }) },
        signal,
        firstByteTimeoutMs: pageMs,
        idleTimeoutMs: answerMs,
      })
      const json = await read(reply).catch((error: unknown) => {
        // It counts no question of another time; ours was wrong, and may be right again before that time comes.
        if (hasCode(error, 'clock_skewed')) lastMs = 0
        throw error
      })
      return understood(client.url, () => parseTowerPage(json))
    },
  }
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString()) as unknown
  } catch {
    return null
  }
}

function refusal(seller: string, status: number, json: unknown): OpenSeedError {
  const { error } = (json ?? {}) as { error?: { code?: unknown; message?: unknown } }
  const code = passedOn.find((known) => known === error?.code)
  const said = typeof error?.message === 'string' ? error.message.slice(0, 300) : ''
  if (code !== undefined) return new OpenSeedError(code, { message: said })
  return new OpenSeedError('seller_failed', {
    message: `${seller} answered ${status} to its watchtower. ${said}`.trim(),
    hint: status === 404 ? 'Its openseed may be too old to have watchtowers.' : undefined,
  })
}

function understood<T>(seller: string, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    throw new OpenSeedError('seller_failed', {
      message: `${seller} answered its watchtower outside the protocol.`,
      cause,
    })
  }
}
