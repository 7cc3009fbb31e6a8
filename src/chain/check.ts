/** The checks of a start: whether every RPC serves the chain, and the contract, that money will be put into. */
import { OpenSeedError } from '../base/errors.ts'
import { hexToBytes, type Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import artifacts from './artifacts.json' with { type: 'json' }
import { toHead, type Escrow, type Head } from './escrow.ts'
import { vouched } from './quorum.ts'
import { resultOf } from './rpc.ts'

// Our escrow's code once it is deployed: the same everywhere, for it has no immutables.
const ownEscrowCode: Hex = codeHash(artifacts.ChannelEscrow.deployedBytecode)

const localChainId = 31_337

/**
 * Hash of the escrow's code where it is known: on the local chain, which gets ours. The code of the deployments on
 * public chains is not part of this project: their hash is the owner's to pin, else the RPCs are held against each
 * other.
 */
export const knownEscrowCode = (chainId: number): Hex | null =>
  chainId === localChainId ? ownEscrowCode : null

/** What the RPCs of a chain say of it at a start. */
export interface ChainCheck {
  /** The newest block that enough RPCs have. */
  head: Pick<Head, 'number' | 'timestampSec'>
  /** Hash of the escrow's code, the same at every RPC that answered. */
  escrowCodeHash: Hex
}

/**
 * Asks every RPC for chain id, newest block and the contracts' code. Throws `chain_mismatch` when one serves another
 * chain, has no contracts, or shows another escrow code than `pinnedCodeHash` (null: than the others); throws
 * `chain_unavailable` when too few answer.
 */
export async function checkChain({ network, rpc }: Escrow, pinnedCodeHash: Hex | null): Promise<ChainCheck> {
  const mismatches: OpenSeedError[] = []
  const seen = await rpc
    .all(async (source) => {
      const [head, ...codes] = await source
        .batch([
          { method: 'eth_getBlockByNumber', params: ['latest', false] },
          ...[network.escrow, network.collector, network.asset].map((place) => ({
            method: 'eth_getCode',
            params: [place, 'latest'],
          })),
        ])
        .catch((thrown: unknown) => {
          // One that serves another chain is passed over elsewhere; at a start it is a mistake in the settings.
          if (thrown instanceof OpenSeedError && thrown.code === 'chain_mismatch') mismatches.push(thrown)
          throw thrown
        })
      const found = codes.map((code) => resultOf(code, 'eth_getCode') as Hex)
      const { number, timestampSec } = toHead(resultOf(head, 'eth_getBlockByNumber'))
      return { name: source.name, number, timestampSec, codes: found }
    })
    .catch((thrown: unknown) => {
      throw mismatches[0] ?? thrown
    })
  if (mismatches[0] !== undefined) throw mismatches[0]
  const hashes = seen.map(({ name, codes }) => {
    if (codes.some((code) => code.length <= 2)) throw noContracts(network.chainId, name)
    return { name, hash: codeHash(codes[0] ?? '0x') }
  })
  const wanted = pinnedCodeHash ?? hashes[0]?.hash
  const other = hashes.find(({ hash }) => hash !== wanted)
  if (wanted === undefined || other !== undefined)
    throw otherCode(network.escrow, other?.name ?? '', pinnedCodeHash !== null)
  const needed = rpc.needed(seen.length)
  const head = {
    number:
      vouched(
        seen.map(({ number }) => number),
        needed,
      ) ?? 0,
    timestampSec:
      vouched(
        seen.map(({ timestampSec }) => timestampSec),
        needed,
      ) ?? 0,
  }
  return { head, escrowCodeHash: wanted }
}

function codeHash(code: string): Hex {
  return keccak256(hexToBytes(code as Hex))
}

const noContracts = (chainId: number, name: string) =>
  new OpenSeedError('chain_mismatch', {
    message: `Chain ${chainId} has no escrow, collector or token at the network's addresses (${name}).`,
    hint: 'Check --network and rpc_urls.',
  })

const otherCode = (escrow: Hex, name: string, isPinned: boolean) =>
  new OpenSeedError('chain_mismatch', {
    message: isPinned
      ? `The contract at ${escrow} that ${name} shows is not the escrow that is expected there.`
      : `The RPCs show different contracts at ${escrow}; ${name} differs from the others.`,
    hint: 'Check --network and rpc_urls; escrow_code_hash names the code that is expected.',
  })
