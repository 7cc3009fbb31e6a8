/** Single transfers at a seller behind several RPCs, some of which lag or lie: what one of them says moves nothing. */
import { randomBytes } from 'node:crypto'
import { Interface } from 'ethers'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { tokenAbi } from '../../src/chain/abi.ts'
import { networks } from '../../src/config/networks.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { curve } from '../../src/wire/curve.ts'
import { bytesToHex, type Hex } from '../../src/wire/hex.ts'
import { accounts, type Account } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { ExactPayer, type ExactRequest } from '../fixtures/exact-payer.ts'
import type { RpcProxy } from '../fixtures/rpc-proxy.ts'
import { openSeveral, type SeveralRpcs } from '../fixtures/rpc-several.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let engine: ScriptedEngine
let chain: TestChain
let three: SeveralRpcs

beforeAll(async () => {
  engine = parts.use(await startScriptedEngine())
  chain = parts.use(await openTestChain())
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  three = await openSeveral(chain, 3)
  return () => three[Symbol.asyncDispose]()
})

const openSeller = async (options: Partial<SellerNodeOptions> = {}) =>
  openTestSeller(chain, engine.url, {
    key: await freshSellerKey(chain),
    rpcUrls: three.urls,
    pollMs: 20,
    ...options,
  })
const earned = () => chain.escrow.tokenBalance(accounts.receiver.address)

async function newAccount(usdc: bigint): Promise<Account> {
  const key: Hex = bytesToHex(randomBytes(32))
  const account = { key, address: curve.addressOf(key) }
  await chain.fund([{ address: account.address, usdc, eth: 10n ** 18n }])
  return account
}

/** Mines a call of the token by an account that anvil may act for. */
async function act(from: Hex, data: string): Promise<void> {
  await chain.rpc.send('anvil_impersonateAccount', [from])
  const hash = await chain.rpc.send('eth_sendTransaction', [{ from, to: chain.network.asset, data }])
  const receipt = () => chain.rpc.send('eth_getTransactionReceipt', [hash])
  await expect.poll(receipt).toMatchObject({ status: '0x1' })
}

/** Sends the request, and has `meanwhile` done while the engine works for it. */
async function sendWhile(payer: ExactPayer, request: ExactRequest, meanwhile: () => Promise<void>) {
  const door = gate()
  engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
  const call = engine.nextCall()
  const replied = payer.send(request)
  await call
  await meanwhile()
  door.open()
  return replied
}

const plainAbi = new Interface(['function transfer(address to, uint256 value)'])
const empty = ({ address }: Account, amount: bigint) =>
  act(address, plainAbi.encodeFunctionData('transfer', [accounts.stranger.address, amount]))

function sendFirst({ authorization, signature }: ExactRequest): Promise<void> {
  const { from, to, value, validAfter, validBefore, nonce } = authorization
  const name = 'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)'
  const values = [from, to, value, validAfter, validBefore, nonce, signature]
  return act(accounts.stranger.address, tokenAbi.encodeFunctionData(name, values))
}

/** Has one RPC show a payment that never was. */
function makeUpPayment(proxy: RpcProxy, { authorization }: ExactRequest): void {
  const { from, to, value, nonce } = authorization
  const address = chain.network.asset
  const event = (name: string, values: unknown[]) => {
    const { topics, data } = tokenAbi.encodeEventLog(name, values)
    return { address, topics, data, transactionHash: word(7) }
  }
  const logs = [event('AuthorizationUsed', [from, nonce]), event('Transfer', [from, to, value])]
  const used = tokenAbi.encodeFunctionData('authorizationState', [from, nonce])
  proxy.instead = ({ method, params }) => {
    if (method === 'eth_call' && JSON.stringify(params).includes(used)) return { result: word(1) }
    if (method === 'eth_getLogs' && JSON.stringify(params).includes(address)) return { result: logs }
    if (method === 'eth_getTransactionReceipt' && params[0] === word(7))
      return { result: { status: '0x1', blockNumber: '0x1', logs } }
    return undefined
  }
}

test('a stale head stops new transfers before any work; what is paid is still answered', async () => {
  let aheadMs = 0
  const now = () => Date.now() + aheadMs
  const confirmation = { ...networks.local.confirmation, maxHeadAgeSec: 120 }
  await using seller = await openSeller({ confirmation, now })
  const payer = new ExactPayer(chain, seller.url)
  await chain.rpc.send('evm_mine')
  const paid = await payer.chat()
  expect(paid.status).toBe(200)
  aheadMs = 125_000
  const calls = engine.calls.length
  const { status, code, text, request } = await payer.chat()
  expect([status, code]).toEqual([503, 'chain_stale'])
  expect(text).toContain('Nothing was charged')
  expect(engine.calls.length).toBe(calls)
  const { from, nonce } = request.authorization
  expect(await seller.store.read('exactFind', { payer: from, nonce })).toBeNull()
  expect(await payer.send(paid.request)).toMatchObject({ status: 200 })
  await chain.advance(125)
  await expect.poll(async () => (await payer.send(request)).status).toBe(200)
})

test('one RPC of three that makes up the payment gets nothing delivered', async () => {
  await using seller = await openSeller()
  const payer = new ExactPayer(chain, seller.url)
  const account = await newAccount(100_000n)
  const request = await payer.make({ payer: account })
  const before = await earned()
  const reply = await sendWhile(payer, request, async () => {
    await empty(account, 100_000n)
    makeUpPayment(three.proxies[0]!, request)
  })
  expect(reply.status).toBe(402)
  expect(reply.settlement).toMatchObject({ success: false })
  expect(reply.text).not.toContain('choices')
  expect(await earned()).toBe(before)
})

test('two RPCs that contradict each other about a payment leave its outcome open', async () => {
  await using seller = await openSeller({ rpcUrls: three.urls.slice(0, 2) })
  const payer = new ExactPayer(chain, seller.url)
  const account = await newAccount(100_000n)
  const request = await payer.make({ payer: account })
  const reply = await sendWhile(payer, request, async () => {
    await empty(account, 100_000n)
    makeUpPayment(three.proxies[0]!, request)
  })
  expect(reply.status).toBe(502)
  expect(reply.settlement).toMatchObject({ success: false, errorReason: 'settlement_pending' })
  expect(reply.text).not.toContain('choices')
  const { from, nonce } = request.authorization
  expect(await seller.store.read('exactFind', { payer: from, nonce })).toMatchObject({ state: 'settling' })
})

test('one RPC of three that hides what a transaction did does not keep what was paid from its buyer', async () => {
  await using seller = await openSeller()
  const payer = new ExactPayer(chain, seller.url)
  three.proxies[0]!.lie = ({ method }, result) =>
    method === 'eth_getTransactionReceipt' && result !== null ? { ...(result as object), logs: [] } : result
  expect(await payer.chat()).toMatchObject({ status: 200 })
})

test('one RPC of three that hides what a stranger sent first does not either', async () => {
  await using seller = await openSeller()
  const payer = new ExactPayer(chain, seller.url)
  const request = await payer.make({ payer: await newAccount(100_000n) })
  const before = await earned()
  const reply = await sendWhile(payer, request, async () => {
    await sendFirst(request)
    three.proxies[0]!.instead = ({ method }) => (method === 'eth_getLogs' ? { result: [] } : undefined)
  })
  expect(reply.status).toBe(200)
  expect((await earned()) - before).toBe(request.amount)
})

test('one RPC of three that calls every wallet empty, and every authorization spent, keeps nobody from paying', async () => {
  await using seller = await openSeller()
  const payer = new ExactPayer(chain, seller.url)
  const request = await payer.make()
  const { from, nonce } = request.authorization
  const used = tokenAbi.encodeFunctionData('authorizationState', [from, nonce])
  const held = tokenAbi.encodeFunctionData('balanceOf', [from])
  // Whichever is asked first: the liar stands first in the list.
  three.proxies[0]!.instead = ({ method, params }) => {
    const text = JSON.stringify(params)
    if (method === 'eth_call' && text.includes(held)) return { result: word(0) }
    return method === 'eth_call' && text.includes(used) ? { result: word(1) } : undefined
  }
  expect(await payer.send(request)).toMatchObject({ status: 200 })
})
