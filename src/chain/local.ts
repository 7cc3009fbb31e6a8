/** Our contracts on a development chain: for demo, tests and benchmarks. Never used on a public chain. */
import { AbiCoder, getCreateAddress } from 'ethers'
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { canonicalCollector, canonicalEscrow, caip2Of, type NetworkTerms } from '../wire/network.ts'
import artifacts from './artifacts.json' with { type: 'json' }
import { openRpc, resultOf, type Rpc, type RpcCall } from './rpc.ts'

/** Who gets what: `usdc` atomic and minted on top, `eth` in wei and set. */
export interface Funding {
  address: Address
  usdc?: Usdc
  eth?: bigint
}

export interface LocalDeployment {
  chainId: number
  /** At the addresses that stock x402 peers know, or wherever a plain deployment puts the contracts. */
  canonical: boolean
  funded?: readonly Funding[]
}

/** USDC on Base Sepolia, where stock clients expect the test token. */
export const baseSepoliaUsdc: Address = '0x036cbd53842c5426634e7929541ec2318f3dcf7e'

/** Puts escrow, collector and a test USDC on the anvil at `rpcUrl` and funds accounts. Throws what `Rpc` throws. */
export async function deployLocal(rpcUrl: string, deployment: LocalDeployment): Promise<NetworkTerms> {
  const { chainId, canonical, funded = [] } = deployment
  await using rpc = openRpc({ urls: [rpcUrl], chainId, timeoutMs: 10_000 })
  const places = canonical ? await placeCanonical(rpc) : await deployPlain(rpc)
  await fund(rpc, places.asset, funded)
  return { chainId, caip2: caip2Of(chainId), ...places, assetName: 'USDC', assetVersion: '2' }
}

/** Mints test USDC and sets native balances on an anvil whose contracts are in place. */
export async function fund(rpc: Rpc, asset: Address, funded: readonly Funding[]): Promise<void> {
  const calls = funded.flatMap(({ address, usdc, eth }): RpcCall[] => [
    ...(eth === undefined ? [] : [{ method: 'anvil_setBalance', params: [address, quantity(eth)] }]),
    ...(usdc === undefined
      ? []
      : [
          {
            method: 'eth_sendTransaction',
            params: [{ from: minter, to: asset, data: mintCall(address, usdc) }],
          },
        ]),
  ])
  // One by one: the calls of a batch run at once, and two transactions would be given the same nonce. The last one
  // mines what is still pending, so that the funds are there on return, with a block time too.
  for (const call of [...calls, { method: 'evm_mine', params: [] }]) await rpc.send(call.method, call.params)
}

type Places = Pick<NetworkTerms, 'escrow' | 'collector' | 'asset'>

// The first account of every anvil, unlocked there. Its key is public.
const minter: Address = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266'
const mintSelector = '0x40c10f19' // mint(address,uint256)

async function placeCanonical(rpc: Rpc): Promise<Places> {
  // The collector's escrow is part of its code, so it is deployed for the canonical escrow and its code moved.
  const collector = await deploy(rpc, collectorCode(canonicalEscrow))
  const code = await rpc.send('eth_getCode', [collector, 'latest'])
  await askAll(rpc, [
    { method: 'anvil_setCode', params: [canonicalEscrow, artifacts.ChannelEscrow.deployedBytecode] },
    { method: 'anvil_setCode', params: [canonicalCollector, code] },
    { method: 'anvil_setCode', params: [baseSepoliaUsdc, artifacts.TestUsdc.deployedBytecode] },
  ])
  return { escrow: canonicalEscrow, collector: canonicalCollector, asset: baseSepoliaUsdc }
}

async function deployPlain(rpc: Rpc): Promise<Places> {
  const escrow = await deploy(rpc, artifacts.ChannelEscrow.bytecode)
  const collector = await deploy(rpc, collectorCode(escrow))
  const asset = await deploy(rpc, artifacts.TestUsdc.bytecode)
  return { escrow, collector, asset }
}

async function deploy(rpc: Rpc, data: string): Promise<Address> {
  const nonce = Number(await rpc.send('eth_getTransactionCount', [minter, 'pending']))
  const hash = await rpc.send('eth_sendTransaction', [{ from: minter, data, nonce: quantity(BigInt(nonce)) }])
  // With a block time the transaction waits for its block; a development chain may be told to make it now.
  if ((await rpc.send('eth_getTransactionReceipt', [hash])) === null) await rpc.send('evm_mine')
  return getCreateAddress({ from: minter, nonce }).toLowerCase() as Address
}

const collectorCode = (escrow: Address) =>
  artifacts.Erc3009Collector.bytecode + AbiCoder.defaultAbiCoder().encode(['address'], [escrow]).slice(2)

const mintCall = (address: Address, usdc: Usdc) =>
  mintSelector + AbiCoder.defaultAbiCoder().encode(['address', 'uint256'], [address, usdc]).slice(2)

async function askAll(rpc: Rpc, calls: readonly RpcCall[]): Promise<void> {
  const replies = await rpc.batch(calls)
  replies.forEach((reply, index) => resultOf(reply, calls[index]?.method ?? 'call'))
}

const quantity = (value: bigint): Hex => `0x${value.toString(16)}`
