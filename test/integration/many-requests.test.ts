/** A thousand paid requests with everything that can go wrong in daily life, and books that still agree to the unit. */
import { expect, test } from 'vitest'
import { openTestBuyer, newWallet, settled, chatBody } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain } from '../fixtures/chain.ts'
import { startScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { seeded } from '../fixtures/seeded.ts'

const requests = 1000
const concurrent = 32

/** One request: how the client asks, what befalls the engine, and after how many bytes the client leaves. */
function randomOrder(random: () => number) {
  const tokens = 1 + Math.floor(random() * 40)
  const fate = random()
  const stream = random() < 0.6
  const directives = [`tokens=${tokens}`]
  if (fate < 0.05) directives.push('status=500')
  else if (fate < 0.1) directives.push(`die=${Math.floor(random() * tokens)}`)
  else if (fate < 0.13) directives.push(`errorAfter=${Math.floor(random() * tokens)}`)
  else if (fate < 0.18) directives.push('usage=omit')
  const leavesAfterBytes = random() < 0.12 ? Math.floor(random() * 4000) : null
  return { content: directives.join(' '), stream, maxTokens: 60, leavesAfterBytes }
}

async function send(url: string, order: ReturnType<typeof randomOrder>): Promise<void> {
  const leave = new AbortController()
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody(order),
      signal: AbortSignal.any([leave.signal, AbortSignal.timeout(60_000)]),
    })
    let bytes = 0
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length
      if (order.leavesAfterBytes !== null && bytes >= order.leavesAfterBytes) leave.abort()
    }
  } catch (error) {
    if (!leave.signal.aborted) throw error
  }
}

test('a thousand mixed requests, 32 at a time, leave both ledgers and the chain in agreement', async () => {
  await using chain = await openTestChain()
  await using engine = await startScriptedEngine()
  await using seller = await openTestSeller(chain, engine.url)
  await using buyer = await openTestBuyer(chain, [seller.url], { keys: await newWallet(chain) })
  const random = seeded(2026)
  const orders = Array.from({ length: requests }, () => randomOrder(random))
  await Promise.all(
    Array.from({ length: concurrent }, async () => {
      for (let order = orders.pop(); order !== undefined; order = orders.pop()) await send(buyer.url, order)
    }),
  )
  await settled(buyer)

  const [channel] = buyer.book.all()
  const [entry] = [...seller.book.entries()]
  expect(buyer.book.all()).toHaveLength(1)
  expect(channel!.state).toBe('open')
  expect(entry!.ledger.open.size).toBe(0)
  const bought = await buyer.store.read('listRequests', { limit: 10_000 })
  const sold = await seller.store.read('listRequests', { limit: 10_000 })
  const sum = (rows: { charged: bigint }[]) => rows.reduce((total, { charged }) => total + charged, 0n)
  expect(bought.every(({ state }) => state === 'final')).toBe(true)
  expect(sum(bought)).toBe(sum(sold))
  expect(channel!.ledger.charged).toBe(entry!.ledger.charged)
  expect(sum(sold)).toBe(entry!.ledger.charged)
  // Most of them were really served, or the sums would prove little.
  expect(sold.filter(({ charged }) => charged > 0n).length).toBeGreaterThan(requests * 0.7)

  await seller.settle()
  expect((await chain.escrow.channel(entry!.id)).totalClaimed).toBe(entry!.ledger.charged)
  expect(await chain.escrow.tokenBalance(accounts.receiver.address)).toBe(entry!.ledger.charged)
}, 120_000)
