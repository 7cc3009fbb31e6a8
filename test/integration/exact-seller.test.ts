/** A seller paid by single transfers: what it refuses, what it takes, and when. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { curve } from '../../src/wire/curve.ts'
import { encodePaymentIdentifier, paymentIdentifierExtension } from '../../src/wire/extension.ts'
import { bytesToHex, type Hex } from '../../src/wire/hex.ts'
import { verifyReceipt } from '../../src/wire/receipt.ts'
import { tokenAbi } from '../../src/chain/abi.ts'
import { accounts, type Account } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { ExactPayer, type ExactRequest, type ExactWish } from '../fixtures/exact-payer.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let payer: ExactPayer

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  payer = new ExactPayer(chain, seller.url)
})
afterAll(() => parts.disposeAsync())

const earned = () => chain.escrow.tokenBalance(accounts.receiver.address)
const rowOf = ({ authorization: { from, nonce } }: ExactRequest) =>
  seller.store.read('exactFind', { payer: from, nonce })
const stateOf = async (request: ExactRequest) => (await rowOf(request))?.state

async function newAccount(usdc: bigint): Promise<Account> {
  const key: Hex = bytesToHex(randomBytes(32))
  const account = { key, address: curve.addressOf(key) }
  await chain.fund([{ address: account.address, usdc, eth: 10n ** 18n }])
  return account
}

/** Mines a call of an account that anvil may act for. */
async function act(from: Hex, data: string): Promise<void> {
  await chain.rpc.send('anvil_impersonateAccount', [from])
  const hash = await chain.rpc.send('eth_sendTransaction', [{ from, to: chain.network.asset, data }])
  const receipt = () => chain.rpc.send('eth_getTransactionReceipt', [hash])
  // A busy anvil answers before it has mined.
  await expect.poll(receipt, { timeout: 10_000 }).toMatchObject({ status: '0x1' })
}

const refusals: [what: string, wish: ExactWish, reason: string][] = [
  ['another amount', { authorization: { value: 1n } }, 'payload_authorization_value_mismatch'],
  ['another recipient', { authorization: { to: accounts.stranger.address } }, 'recipient_mismatch'],
  ['a past end', { authorization: { validBefore: 5n } }, 'payload_authorization_valid_before'],
  ['a future start', { authorization: { validAfter: 2n ** 40n } }, 'payload_authorization_valid_after'],
  ["somebody else's signature", { signerKey: accounts.stranger.key }, 'signature'],
  ['an empty wallet', { payer: accounts.stranger }, 'insufficient_balance'],
]

test.for(refusals)('%s is refused before any work', async ([, wish, reason]) => {
  const calls = engine.calls.length
  const { status, reason: said, headers, request } = await payer.chat(wish)
  expect([status, said]).toEqual([402, `invalid_exact_evm_${reason}`])
  expect(headers['payment-response']).toBeUndefined()
  expect(engine.calls.length).toBe(calls)
  expect(await rowOf(request)).toBeNull()
})

test('terms that were not offered are refused, and so is what is no transfer', async () => {
  const other = await payer.chat({ accepted: { amount: '1' } })
  expect([other.status, other.reason]).toEqual([402, 'invalid_payment_requirements'])
  const paid = await payer.make()
  const payment = JSON.parse(Buffer.from(paid.headers['payment-signature']!, 'base64').toString())
  const header = (payload: unknown) => Buffer.from(JSON.stringify({ ...payment, payload })).toString('base64')
  const send = (payload: unknown) =>
    payer.send({ ...paid, headers: { 'payment-signature': header(payload) } })
  expect((await send({ permit2Authorization: {}, signature: '0x' })).reason).toBe('unsupported_payload_type')
  expect((await send({ authorization: {}, signature: '0x' })).reason).toBe('invalid_payload')
})

test('an authorization that was spent elsewhere buys nothing', async () => {
  const account = await newAccount(1_000_000n)
  const request = await payer.make({ payer: account })
  const spent = { ...request.authorization, to: account.address }
  const { assetName: name, assetVersion: version, chainId, asset } = chain.network
  const digest = chain.digests.transferAuthorization({ name, version, chainId, asset }, spent)
  await act(account.address, transferData(spent, curve.sign(digest, account.key)))
  expect((await payer.send(request)).reason).toBe('invalid_exact_evm_nonce_already_used')
})

test('five copies at once run the engine once and are charged once', async () => {
  const door = gate()
  const mark = randomWord()
  const request = await payer.make({ say: `tokens=5 ${mark}` })
  const before = await earned()
  engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
  const copies = Array.from({ length: 5 }, () => payer.send(request))
  const late = Promise.all(copies.map((copy) => copy.then(({ status }) => status)))
  await engine.nextCall()
  door.open()
  expect((await late).toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409, 409])
  expect(engine.calls.filter(({ body }) => JSON.stringify(body).includes(mark))).toHaveLength(1)
  expect((await earned()) - before).toBe(request.amount)
  await vi.waitUntil(async () => (await stateOf(request)) === 'served', patient)

  const again = await payer.send(request)
  expect(again.status).toBe(200)
  expect(again.receipt && verifyReceipt(chain.digests, curve, again.receipt, sellerKey())).toBe(true)
  expect(again.receipt?.receipt).toMatchObject({ charged: request.amount, outputTokens: 5 })
  expect((await earned()) - before).toBe(request.amount)
})

test('the same payment id with another authorization is a conflict, not a second charge', async () => {
  const extensions = { [paymentIdentifierExtension]: encodePaymentIdentifier(randomWord()) }
  expect((await payer.chat({ extensions })).status).toBe(200)
  const before = await earned()
  const second = await payer.chat({ extensions })
  expect([second.status, second.code]).toEqual([409, 'request_conflict'])
  expect(await earned()).toBe(before)
})

test('nothing of a stream leaves before its money is final', async () => {
  await chain.rpc.send('evm_setAutomine', [false])
  try {
    const request = await payer.make({ stream: true, say: 'tokens=8' })
    const call = engine.nextCall()
    let answered = false
    const opening = payer.open(request).then((stream) => {
      answered = true
      return stream
    })
    await (
      await call
    ).finished
    await vi.waitUntil(async () => {
      const pool = (await chain.rpc.send('txpool_status')) as { pending: Hex }
      return Number(pool.pending) === 1
    }, patient)
    expect(answered).toBe(false)
    expect(await stateOf(request)).toBe('settling')
    await chain.rpc.send('evm_mine')
    const stream = await opening
    expect(stream.headers['payment-response']).toBeDefined()
    const reply = await stream.rest()
    expect(reply.words).toHaveLength(8)
    expect(reply.receipt?.receipt).toMatchObject({ outputTokens: 8, responseHash: reply.responseHash })
    expect(await stateOf(request)).toBe('served')
  } finally {
    await chain.rpc.send('evm_setAutomine', [true])
  }
})

test.for([false, true])(
  'a wallet emptied while the engine works gets nothing, streamed: %s',
  async (stream) => {
    const account = await newAccount(100_000n)
    const request = await payer.make({ payer: account, stream, say: 'tokens=5' })
    const door = gate()
    engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
    const call = engine.nextCall()
    const replied = payer.send(request)
    await call
    await act(account.address, transferCallData(accounts.stranger.address, 100_000n))
    door.open()
    const reply = await replied
    expect(reply.status).toBe(402)
    expect(reply.settlement).toMatchObject({ success: false, transaction: '' })
    expect(reply.settlement?.errorReason).toMatch(/^invalid_exact_evm_transaction_/)
    expect(reply.text).not.toContain('choices')
    expect(await stateOf(request)).toBe('failed')
    await chain.fund([{ address: account.address, usdc: 100_000n }])
    expect((await payer.send(request)).reason).toBe('invalid_exact_evm_nonce_already_used')
  },
)

test('a stranger who sends the authorization first has paid for us', async () => {
  const account = await newAccount(100_000n)
  const request = await payer.make({ payer: account, say: 'tokens=5' })
  const door = gate()
  engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
  const call = engine.nextCall()
  const before = await earned()
  const replied = payer.send(request)
  await call
  await act(accounts.stranger.address, transferData(request.authorization, request.signature))
  door.open()
  const reply = await replied
  expect(reply.status).toBe(200)
  expect((await earned()) - before).toBe(request.amount)
})

test('a client that leaves before its answer is whole pays nothing', async () => {
  const request = await payer.make({ say: 'tokens=5' })
  const door = gate()
  engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
  const call = engine.nextCall()
  const leaving = new AbortController()
  const before = await earned()
  const gone = payer.send(request, leaving.signal).catch(() => 'gone')
  const { aborted } = await call
  leaving.abort()
  expect(await gone).toBe('gone')
  await aborted
  await vi.waitUntil(async () => (await stateOf(request)) === 'released', patient)
  expect(await earned()).toBe(before)
  door.open()
  // Nothing was taken for it: the same authorization may try again.
  expect((await payer.send(request)).status).toBe(200)
})

test('an engine that dies in a paid stream leaves an error event and a receipt of what was delivered', async () => {
  const request = await payer.make({ stream: true, say: 'tokens=20 die=6' })
  const reply = await payer.send(request)
  expect(reply.status).toBe(200)
  expect(reply.words).toHaveLength(6)
  expect(reply.text).not.toContain('[DONE]')
  expect(reply.receipt?.receipt).toMatchObject({ outputTokens: 6, charged: request.amount })
  expect(await rowOf(request)).toMatchObject({ state: 'served', outcome: 'engine_broke' })
})

test('a seller may ask for more than a tiny ceiling, or take no single transfers at all', async () => {
  await using dear = await openTestSeller(chain, engine.url, { leastExact: 7_000n })
  const { request, status } = await new ExactPayer(chain, dear.url).chat()
  expect([status, request.amount]).toEqual([200, 7_000n])
  await using none = await openTestSeller(chain, engine.url, { leastExact: null })
  await expect(new ExactPayer(chain, none.url).make()).rejects.toThrow('no exact')
  const paid = await payer.make()
  expect((await new ExactPayer(chain, none.url).send(paid)).reason).toBe('unsupported_scheme')
})

const sellerKey = () => accounts.receiverAuthorizer.address

function transferData(authorization: ExactRequest['authorization'], signature: Hex): string {
  const { from, to, value, validAfter, validBefore, nonce } = authorization
  return tokenAbi.encodeFunctionData(
    'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)',
    [from, to, value, validAfter, validBefore, nonce, signature],
  )
}

// transfer(address,uint256)
const transferCallData = (to: Hex, value: bigint) =>
  `0xa9059cbb${to.slice(2).padStart(64, '0')}${value.toString(16).padStart(64, '0')}`
