import { Interface } from 'ethers'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { escrowAbi } from './abi.ts'
import artifacts from './artifacts.json' with { type: 'json' }
import { decodeRevert } from './revert.ts'

test('errors of the escrow and of the token are told by name', () => {
  expect(decodeRevert('0xc2e5347d')).toBe('EmptyBatch')
  expect(decodeRevert('0x164f1afe')).toBe('InvalidRefundNonce')
  expect(
    decodeRevert(new Interface(artifacts.TestUsdc.abi).encodeErrorResult('AuthorizationExpired', [7])),
  ).toBe('AuthorizationExpired')
})

test('revert data is found in a reply and in a thrown refusal', () => {
  expect(decodeRevert({ ok: false, data: '0xd758525c' })).toBe('ZeroRefund')
  const thrown = new OpenSeedError('chain_refused', { message: 'no', details: { data: '0x56316e87' } })
  expect(decodeRevert(thrown)).toBe('ZeroDeposit')
})

test('a revert with text gives the text, a panic its number', () => {
  const builtIn = new Interface(['error Error(string reason)', 'error Panic(uint256 code)'])
  const reason = 'FiatTokenV2: authorization is expired'
  expect(decodeRevert(builtIn.encodeErrorResult('Error', [reason]))).toBe(reason)
  expect(decodeRevert(builtIn.encodeErrorResult('Panic', [17]))).toBe('Panic(17)')
})

test.each([null, undefined, 5, '0x', '0x1234', '0xdeadbeef', '0x08c379a0ff', {}, new Error('x')])(
  'what holds no known revert data is null (%o)',
  (error) => {
    expect(decodeRevert(error)).toBeNull()
  },
)

test('the interface that is used is that of our contracts', () => {
  const ours = new Interface([...artifacts.ChannelEscrow.abi, ...artifacts.Erc3009Collector.abi])
  escrowAbi.forEachFunction((fragment) =>
    expect(ours.getFunction(fragment.selector)?.name).toBe(fragment.name),
  )
  escrowAbi.forEachEvent((fragment) => expect(ours.getEvent(fragment.topicHash)?.name).toBe(fragment.name))
  escrowAbi.forEachError((fragment) => expect(ours.getError(fragment.selector)?.name).toBe(fragment.name))
})
