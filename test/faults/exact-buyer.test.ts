/** A buyer of single transfers that is killed between storing what it signed and sending it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { curve } from '../../src/wire/curve.ts'
import { newWallet, openTestBuyer } from '../fixtures/buyer.ts'
import { openTestChain } from '../fixtures/chain.ts'
import { startBuyerProcess } from '../fixtures/fault-buyer-process.ts'
import { tryChat } from '../fixtures/fault-world.ts'
import { startHostileServer } from '../fixtures/hostile-server.ts'

test('killed at buyer.exact-opened, it counts the transfer until it has expired, and pays the next one once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-fault-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const chain = cleanup.use(await openTestChain())
  const server = cleanup.use(await startHostileServer(chain))
  server.answer = ({ payment }) => (payment === null ? server.demand([server.entry()]) : server.deliver())
  const keys = await newWallet(chain)
  const wallet = () => chain.escrow.tokenBalance(curve.addressOf(keys.payer))
  const [before, price] = [await wallet(), BigInt(server.entry().amount)]
  const task = { folder, network: chain.network, rpcUrls: [chain.url], keys, sellers: [server.url] }
  const doomed = cleanup.use(await startBuyerProcess(task, 'buyer.exact-opened'))
  await tryChat(doomed.url)
  expect(await doomed.ended).toEqual([null, 'SIGKILL'])
  expect(server.payments).toEqual([])

  const buyer = cleanup.use(await openTestBuyer(chain, [server.url], { folder, keys }))
  const open = () => buyer.store.read('exactUnresolved')
  expect((await open()).map(({ amount }) => amount)).toEqual([price])
  expect((await buyer.chat()).status).toBe(200)
  await server.takeAll()
  expect(server.payments).toHaveLength(1)
  expect(before - (await wallet())).toBe(price)
  const rows = await buyer.store.read('listExact', { limit: 10 })
  expect(rows.map(({ state, charged }) => [state, charged])).toEqual([
    ['final', price],
    ['open', 0n],
  ])
})
