/** What the benches of peers ask a seller for. */
import type { Readable } from 'node:stream'
import type { SellerClient } from '../src/net/seller-client.ts'

export const waitMs = 60_000
const body = JSON.stringify({ model: 'bench', messages: [{ role: 'user', content: 'word '.repeat(160) }] })

export async function get(
  client: SellerClient,
  path: string,
  method: 'GET' | 'POST' = 'GET',
): Promise<Readable> {
  const reply = await client.request({
    method,
    path,
    ...(method === 'POST' && { body, headers: { 'content-type': 'application/json' } }),
    signal: AbortSignal.timeout(waitMs),
    firstByteTimeoutMs: waitMs,
    idleTimeoutMs: waitMs,
  })
  return reply.body
}
