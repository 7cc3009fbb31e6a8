/** What the stock x402 client writes is read by us, and what we write is what it would have written. */
import { PaymentPayloadV2Schema } from '@x402/core/schemas'
import type { PaymentRequirements as StockRequirements } from '@x402/core/types'
import { BatchSettlementEvmScheme, InMemoryClientChannelStorage } from '@x402/evm/batch-settlement/client'
import { privateKeyToAccount } from 'viem/accounts'
import { expect, test } from 'vitest'
import { encodeBatchPayload, parseBatchPayload } from './batch-settlement.ts'
import { nativeCurve } from './curve.ts'
import { openDigests } from './digests.ts'
import { asAddress, type Hex } from './hex.ts'
import { canonicalCollector, canonicalEscrow } from './network.ts'
import { acceptsEntry, encodeHeader, parsePaymentPayload, type PaymentRequirements } from './x402.ts'

const chainId = 84_532
const digests = openDigests({ chainId, escrow: canonicalEscrow })
const curve = nativeCurve()
const payer = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d')
const authorizer = privateKeyToAccount('0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6')
const requirements = {
  scheme: 'batch-settlement',
  network: `eip155:${chainId}`,
  amount: '1300',
  asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
  payTo: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC',
  maxTimeoutSeconds: 600,
  extra: {
    receiverAuthorizer: '0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65',
    withdrawDelay: 86_400,
    name: 'USDC',
    version: '2',
    minDeposit: '100000',
  },
} satisfies PaymentRequirements
const url = 'https://seller.example/v1/chat/completions'
const paymentRequired = { x402Version: 2 as const, resource: { url }, accepts: [requirements] }

function openClient(balance?: string) {
  const storage = new InMemoryClientChannelStorage()
  const client = new BatchSettlementEvmScheme(payer, { storage, voucherSigner: authorizer })
  const config = client.buildChannelConfig(requirements as StockRequirements)
  const channelId = digests.channelId({
    payer: asAddress(config.payer),
    payerAuthorizer: asAddress(config.payerAuthorizer),
    receiver: asAddress(config.receiver),
    receiverAuthorizer: asAddress(config.receiverAuthorizer),
    token: asAddress(config.token),
    withdrawDelay: config.withdrawDelay,
    salt: config.salt,
  })
  const ready =
    balance === undefined
      ? Promise.resolve()
      : Promise.resolve(storage.set(channelId, { balance, chargedCumulativeAmount: '700' }))
  return { client, channelId, ready }
}

function signerOf({
  channelId,
  maxClaimable,
  signature,
}: {
  channelId: Hex
  maxClaimable: bigint
  signature: Hex
}) {
  return curve.recover(digests.voucher(channelId, maxClaimable), signature)
}

test('a stock deposit is understood, its signatures checked, and written by us alike', async () => {
  const { client, channelId } = openClient()
  const { payload } = await client.createPaymentPayload(2, requirements as StockRequirements)
  const ours = parseBatchPayload(payload)
  expect(encodeBatchPayload(ours)).toEqual(payload)
  if (ours.type !== 'deposit') throw new Error(`a deposit was expected, not a ${ours.type}`)
  expect(digests.channelId(ours.config)).toBe(channelId)
  expect(ours.voucher).toMatchObject({ channelId, maxClaimable: 1300n })
  expect(signerOf(ours.voucher)).toBe(asAddress(authorizer.address))
  expect(ours.deposit.amount).toBe(100_000n)
  const { authorization, amount } = ours.deposit
  const token = { name: 'USDC', version: '2', chainId, asset: ours.config.token }
  const digest = digests.receiveAuthorization(token, {
    from: ours.config.payer,
    to: canonicalCollector,
    value: amount,
    validAfter: authorization.validAfter,
    validBefore: authorization.validBefore,
    nonce: digests.depositNonce(channelId, authorization.salt),
  })
  expect(curve.recover(digest, authorization.signature)).toBe(asAddress(payer.address))
})

test('a stock voucher is understood and written by us alike', async () => {
  const { client, channelId, ready } = openClient('100000')
  await ready
  const { payload } = await client.createPaymentPayload(2, requirements as StockRequirements)
  const ours = parseBatchPayload(payload)
  expect(encodeBatchPayload(ours)).toEqual(payload)
  expect(ours).toMatchObject({ type: 'voucher', voucher: { channelId, maxClaimable: 2000n } })
  expect(signerOf(ours.voucher)).toBe(asAddress(authorizer.address))
})

test.each([undefined, '5000'])(
  'a stock refund of %s is understood from our 402 to our settlement',
  async (amount) => {
    const { client, channelId, ready } = openClient('100000')
    await ready
    const sent: string[] = []
    const seller: typeof fetch = (_url, init) => {
      const header = new Headers(init?.headers).get('payment-signature')
      if (header === null)
        return Promise.resolve(
          new Response('{}', { status: 402, headers: { 'payment-required': encodeHeader(paymentRequired) } }),
        )
      sent.push(header)
      const settlement = {
        success: true,
        transaction: `0x${'12'.repeat(32)}`,
        network: requirements.network,
        amount: '5000',
      }
      return Promise.resolve(new Response('', { headers: { 'payment-response': encodeHeader(settlement) } }))
    }
    const settled = await client.refund(url, { fetch: seller, ...(amount === undefined ? {} : { amount }) })
    expect(settled).toMatchObject({ success: true, amount: '5000' })
    const payment = parsePaymentPayload(sent[0])
    expect(acceptsEntry(payment.accepted, requirements)).toBe(true)
    const ours = parseBatchPayload(payment.payload)
    expect(encodeBatchPayload(ours)).toEqual(payment.payload)
    expect(ours).toMatchObject({ type: 'refund', voucher: { channelId, maxClaimable: 700n } })
    expect('amount' in ours ? ours.amount : undefined).toBe(amount === undefined ? undefined : BigInt(amount))
    expect(signerOf(ours.voucher)).toBe(asAddress(authorizer.address))
  },
)

test('our payment passes the stock schema and the stock type checks of a voucher', async () => {
  const { client, ready } = openClient('100000')
  await ready
  const { payload } = await client.createPaymentPayload(2, requirements as StockRequirements)
  const ours = {
    x402Version: 2 as const,
    accepted: requirements,
    payload: encodeBatchPayload(parseBatchPayload(payload)),
  }
  const decoded = JSON.parse(Buffer.from(encodeHeader(ours), 'base64').toString()) as unknown
  expect(PaymentPayloadV2Schema.parse(decoded)).toEqual(ours)
  const { isBatchSettlementVoucherPayload } = await import('@x402/evm')
  expect(isBatchSettlementVoucherPayload(ours.payload)).toBe(true)
})
