/**
 * Random histories of calls, good and bad, to the escrow on a real chain and to its model. After every transaction the
 * outcome, the events, everything that the views show and all token balances must be the same.
 */
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeRevert } from '../../src/chain/revert.ts'
import { escrowCalls, type Call } from '../../src/chain/calls.ts'
import { tokenBalanceOf, toBigInt } from '../../src/chain/escrow.ts'
import { parseLogs, type TxLog } from '../../src/chain/events.ts'
import { resultOf } from '../../src/chain/rpc.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { kinds, move, openPlayer, type Move, type Player, type Sent } from '../model/escrow-histories.ts'
import {
  applyCall,
  channelOf,
  receiverOf,
  type ModelCall,
  type ModelState,
  type Row,
} from '../model/escrow-model.ts'

// A seed with which few histories meet every rule.
const seed = 23
const isDeep = process.env['TEST_DEEP'] === '1'
const histories = isDeep ? 120 : 8
const payerUsdc = 3000n

const parts = new AsyncDisposableStack()
let chain: TestChain
let player: Player
const receivers = [accounts.receiver.address, accounts.payer.address]

beforeAll(async () => {
  chain = parts.use(await openTestChain({ payerUsdc }))
  await chain.rpc.send('evm_setAutomine', [false])
  player = openPlayer(chain)
})
afterAll(() => parts.disposeAsync())

const seen = { succeeded: new Set<string>(), errors: new Set<string>() }

test(
  'every transaction of random histories ends as the documentation says',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(move, { minLength: 1, maxLength: 110, size: 'max' }), async (moves) => {
        const snapshot = await chain.rpc.send('evm_snapshot')
        try {
          await play(moves)
        } finally {
          await chain.rpc.send('evm_revert', [snapshot])
        }
      }),
      { seed, numRuns: histories },
    )
  },
  isDeep ? 600_000 : 60_000,
)

test('the histories met every function and every documented error that one token can cause', () => {
  expect([...seen.succeeded].toSorted()).toEqual([...kinds, 'multicall'].toSorted())
  expect([...seen.errors]).toEqual(expect.arrayContaining(expectedErrors))
})

const expectedErrors = [
  'InvalidChannel',
  'ZeroDeposit',
  'DepositOverflow',
  'InvalidSignature',
  'NotReceiverAuthorizer',
  'NotAuthorizedToClaim',
  'NotAuthorizedToRefund',
  'ClaimExceedsCeiling',
  'ClaimExceedsBalance',
  'WithdrawalAlreadyPending',
  'WithdrawalNotPending',
  'NotAuthorizedToFinalizeWithdraw',
  'WithdrawDelayNotElapsed',
  'NothingToWithdraw',
  'WithdrawAmountExceedsAvailable',
  'WithdrawDelayOutOfRange',
  'EmptyBatch',
  'InvalidCollector',
  'InvalidRefundNonce',
  'ZeroRefund',
  'AuthorizationNotYetValid',
  'AuthorizationExpired',
  'AuthorizationAlreadyUsed',
  'InsufficientBalance',
]

async function play(moves: readonly Move[]): Promise<void> {
  let state: ModelState = {
    channels: new Map(),
    receivers: new Map(),
    tokens: new Map([[accounts.payer.address, payerUsdc]]),
    usedAuthorizations: new Set(),
  }
  let { timestampSec: nowSec } = await chain.escrow.head()
  const history: Sent[] = []
  for (const one of moves) {
    nowSec = player.timeOf(one, state, nowSec)
    const sent = player.toSent(one, state, nowSec, history)
    if (sent === null) continue
    history.push(sent)
    const expected = applyCall(state, sent.call, { sender: sent.sender, nowSec }, chain)
    const actual = await send(sent, nowSec)

    const error = expected.errors.length === 0 ? null : expect.toBeOneOf(expected.errors)
    state = expected.state
    expect({ ...actual, sent }).toEqual({ error, events: sorted(expected.events), view: viewOf(state), sent })
    if (actual.error === null) seen.succeeded.add(sent.call.name)
    else seen.errors.add(actual.error)
  }
}

async function send({ call, sender }: Sent, nowSec: number) {
  const { rpc, network, escrow } = chain
  await rpc.send('eth_sendTransaction', [{ ...encode(call), from: sender, gas: '0x2dc6c0' }])
  const [block] = (await rpc.send('evm_mine_detailed', [{ timestamp: nowSec }])) as MinedBlock[]
  expect(Number(block?.timestamp)).toBe(nowSec)
  const [channels, paid, [blockReceipts, ...balances]] = await Promise.all([
    escrow.channels(player.configs.map(idOf)),
    Promise.all(receivers.map((address) => escrow.receiver(address, network.asset))),
    rpc.batch([
      { method: 'eth_getBlockReceipts', params: [block?.number] },
      ...holders().map((address) => tokenBalanceOf(network.asset, address)),
    ]),
  ])
  const [receipt] = resultOf(blockReceipts, 'eth_getBlockReceipts') as { status: Hex; logs: TxLog[] }[]
  const output = block?.transactions[0]?.output ?? '0x'
  return {
    error: receipt?.status === '0x1' ? null : (decodeRevert(output) ?? `unknown: ${output}`),
    events: sorted(parseLogs(receipt?.logs ?? [], network.escrow)),
    view: {
      channels,
      receivers: paid,
      tokens: balances.map((reply) => toBigInt(resultOf(reply, 'eth_call'))),
    },
  }
}

interface MinedBlock {
  number: Hex
  timestamp: Hex
  transactions: { output?: Hex }[]
}

function encode(call: ModelCall): Call {
  const { network, escrow } = chain
  const bytesOf = (row: Row) => ({ ...row, signature: row.signature.bytes })
  switch (call.name) {
    case 'deposit': {
      const { config, amount, collector, authorization } = call
      const signature = authorization.signature.bytes
      return escrowCalls({ ...network, collector }).deposit(config, amount, { ...authorization, signature })
    }
    case 'claim':
      return escrow.calls.claim(call.rows.map(bytesOf))
    case 'claimWithSignature':
      return escrow.calls.claimWithSignature(call.rows.map(bytesOf), call.signature.bytes)
    case 'settle':
      return escrow.calls.settle(call.receiver, network.asset)
    case 'initiateWithdraw':
    case 'refund':
      return escrow.calls[call.name](call.config, call.amount)
    case 'finalizeWithdraw':
      return escrow.calls.finalizeWithdraw(call.config)
    case 'refundWithSignature':
      return escrow.calls.refundWithSignature(call.config, call.amount, call.nonce, call.signature.bytes)
    default:
      return escrow.calls.multicall(call.calls.map(encode))
  }
}

function viewOf(state: ModelState) {
  return {
    channels: player.configs.map((config) => channelOf(state, idOf(config))),
    receivers: receivers.map((address) => receiverOf(state, address)),
    tokens: holders().map((address) => state.tokens.get(address) ?? 0n),
  }
}

const idOf = (config: ChannelConfig) => chain.digests.channelId(config)
const holders = () => [
  ...Object.values(accounts).map(({ address }) => address),
  chain.network.escrow,
  chain.network.collector,
]
// The documentation gives no order within a transaction.
const sorted = (events: readonly object[]) => events.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)))
const keyOf = (event: object) =>
  JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
