/** How long a seller takes to its first token, by paying for one. Without a running buyer on this home. */
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { peerOfAddress } from '../wire/seller-address.ts'
import { startBuyerNode } from './buyer-node.ts'
import { buyerOptions, type BuyIo } from './run-buy.ts'

export interface FirstTokenTarget {
  /** Its URL, or its peer's address. */
  seller: string
  model: string
}

/**
 * Milliseconds. Two requests of one token each: the first may make a deposit, so the second is timed. Throws what
 * unlocking and paying throw, `home_locked` when a buyer runs on this home.
 */
export async function measureFirstToken(
  config: Config,
  io: Pick<BuyIo, 'log' | 'password' | 'signal'>,
  target: FirstTokenTarget,
): Promise<number> {
  const node = await startBuyerNode({
    ...(await buyerOptions(config, io)),
    // A URL is all that is needed to reach a seller; where a peer is, somebody has to say.
    registries: peerOfAddress(target.seller) === null ? [] : config.registries,
    sellers: [target.seller],
    listen: { host: '127.0.0.1', port: 0 },
  })
  try {
    await askForOne(node.url, target.model, io.signal)
    return await askForOne(node.url, target.model, io.signal)
  } finally {
    await node.close(0)
  }
}

async function askForOne(baseUrl: string, model: string, signal: AbortSignal): Promise<number> {
  const startedMs = performance.now()
  const reply = await fetch(`${baseUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      max_tokens: 1,
      stream: true,
      messages: [{ role: 'user', content: 'Say yes.' }],
    }),
    signal,
  })
  if (!reply.ok || reply.body === null) {
    throw new OpenSeedError('seller_failed', {
      message: `A request for one token of ${model} was answered ${reply.status}: ${await reply.text()}`,
    })
  }
  let firstMs: number | null = null
  for await (const chunk of reply.body) {
    if (chunk.length > 0) firstMs ??= performance.now() - startedMs
  }
  return firstMs ?? performance.now() - startedMs
}
