import { expect, test } from 'vitest'
import { batchErrors, parseBatchPayload, parseChannelState } from './batch-settlement.ts'

const hex = (byte: string, bytes = 32) => `0x${byte.repeat(bytes)}`
const channelConfig = {
  payer: hex('01', 20),
  payerAuthorizer: hex('02', 20),
  receiver: hex('03', 20),
  receiverAuthorizer: hex('04', 20),
  token: hex('05', 20),
  withdrawDelay: 86_400,
  salt: hex('00'),
}
const voucher = { channelId: hex('06'), maxClaimableAmount: '1000', signature: hex('07', 65) }
const payload = { type: 'voucher', channelConfig, voucher }

test('a payload that has a standard error string is refused with it', () => {
  for (const [broken, reason] of [
    [{ ...payload, type: 'claim' }, batchErrors.payloadType],
    [{ ...payload, type: undefined }, batchErrors.payloadType],
    [{ ...payload, voucher: { ...voucher, channelId: '0x06' } }, batchErrors.channelIdInvalid],
    [{ ...payload, type: 'refund', amount: '0' }, batchErrors.refundAmountInvalid],
    [{ ...payload, type: 'refund', amount: 5 }, batchErrors.refundAmountInvalid],
    [
      { ...payload, type: 'deposit', deposit: { amount: '1', authorization: { permit2Authorization: {} } } },
      batchErrors.erc3009AuthorizationRequired,
    ],
  ] as const)
    expect(() => parseBatchPayload(broken)).toThrow(
      expect.objectContaining({ code: 'invalid_message', details: { reason } }),
    )
})

test('withdrawDelay is a JSON number and amounts are strings, never the other way round', () => {
  expect(parseBatchPayload(payload)).toMatchObject({ type: 'voucher', config: { withdrawDelay: 86_400 } })
  for (const broken of [
    { ...payload, channelConfig: { ...channelConfig, withdrawDelay: '86400' } },
    { ...payload, voucher: { ...voucher, maxClaimableAmount: 1000 } },
  ])
    expect(() => parseBatchPayload(broken)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
})

test('a null refund amount asks for everything', () => {
  expect(parseBatchPayload({ ...payload, type: 'refund', amount: null })).not.toHaveProperty('amount')
})

test('counters of a channel state may be digits or numbers', () => {
  const state = { channelId: hex('06'), balance: '10', totalClaimed: '0' }
  const parsed = {
    channelId: hex('06'),
    balance: 10n,
    totalClaimed: 0n,
    withdrawRequestedAt: 5,
    refundNonce: 2n,
  }
  expect(parseChannelState({ ...state, withdrawRequestedAt: '5', refundNonce: 2 })).toEqual(parsed)
  expect(parseChannelState({ ...state, withdrawRequestedAt: 5, refundNonce: '2' })).toEqual(parsed)
})
