/** `openseed wallet bind`: what a wallet elsewhere is to sign for this seller, and what it has signed. */
import { readFile } from 'node:fs/promises'
import { OpenSeedError } from '../base/errors.ts'
import { openWalletCheck } from '../chain/contract-wallet.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Config } from '../config/config.ts'
import { bindingTypedData } from '../wire/binding-typed-data.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import { asHex, checksummed, type Hex } from '../wire/hex.ts'
import {
  bindingHash,
  parseBinding,
  verifyBinding,
  type PeerBinding,
  type SignedBinding,
} from '../wire/peer-binding.ts'
import { draftBinding, findDraft, storeBinding, type BindingNeeds } from './binding.ts'
import { openNodeKey } from './identity.ts'
import { openKeystore } from './keystore.ts'

const rpcTimeoutMs = 5_000

/** What the payout wallet is to sign. */
export interface BindingToSign {
  peer: string
  payTo: string
  /** For `eth_signTypedData_v4`. */
  typedData: ReturnType<typeof bindingTypedData>
  /** What is signed in the end, for wallets that sign digests. */
  digest: Hex
  untilSec: number
}

/** Throws `invalid_request` where nothing has to be signed elsewhere. */
export async function prepareBinding(config: Config, nowMs: number): Promise<BindingToSign> {
  const needs = await needsOf(config, nowMs)
  const draft = draftBinding(config.paths.seller, needs)
  return {
    peer: draft.peer,
    payTo: checksummed(draft.payTo),
    typedData: bindingTypedData(config.network.terms, draft),
    digest: bindingHash(needs.digests, draft),
    untilSec: draft.notAfterSec,
  }
}

/**
 * Keeps what the wallet signed: a signature in hex, or a file with one, alone, as JSON or with the whole binding. A
 * signature that is by no key is shown to the wallet's contract. Throws `invalid_signature`, `chain_unavailable`.
 */
export async function importBinding(config: Config, given: string, nowMs: number): Promise<SignedBinding> {
  const needs = await needsOf(config, nowMs)
  const { network, paths } = config
  const signed = readSigned(await readText(given), findDraft(paths.seller, needs))
  if (signed.peer !== needs.peer || signed.payTo !== needs.payTo) {
    throw new OpenSeedError('invalid_signature', {
      message: `That was signed for node ${signed.peer} and wallet ${checksummed(signed.payTo)}; here it is ${needs.peer} and ${checksummed(needs.payTo)}.`,
      hint: 'openseed wallet bind',
    })
  }
  await using rpc = openRpc({
    urls: network.rpcUrls,
    chainId: network.terms.chainId,
    timeoutMs: rpcTimeoutMs,
  })
  const verdict = await verifyBinding(signed, {
    digests: needs.digests,
    curve,
    nowSec: Math.floor(nowMs / 1000),
    isValidSignature: openWalletCheck(rpc),
  })
  if (!verdict.ok) {
    throw new OpenSeedError('invalid_signature', {
      message:
        verdict.reason === 'forged'
          ? `${checksummed(signed.payTo)} did not sign this, neither with its key nor as a contract.`
          : `What was signed cannot be used: it is ${verdict.reason.replaceAll('_', ' ')}.`,
      hint: 'openseed wallet bind prints what that wallet has to sign.',
    })
  }
  storeBinding(paths.seller, needs.digests, signed)
  return signed
}

async function needsOf({ paths, network, sell }: Config, nowMs: number): Promise<BindingNeeds> {
  const { 'seller-authorizer': own } = await openKeystore(paths.keystore).addresses()
  if (sell.payTo === null || sell.payTo === own) {
    throw new OpenSeedError('invalid_request', {
      message: 'Earnings are paid to a wallet of this home, which signs for the seller by itself.',
      hint: 'Name another wallet with --pay-to ADDRESS, or in config.toml as sell.pay_to.',
    })
  }
  const { peerId: peer } = openNodeKey(paths.seller)
  return { peer, payTo: sell.payTo, digests: openDigests(network.terms), nowMs }
}

async function readText(given: string): Promise<string> {
  if (/^0x[0-9a-f]+$/i.test(given.trim())) return given
  try {
    return await readFile(given, 'utf8')
  } catch (error) {
    throw new OpenSeedError('invalid_request', { message: `${given} cannot be read.`, cause: error })
  }
}

function readSigned(text: string, draft: PeerBinding | null): SignedBinding {
  const value = text.trim().startsWith('{') ? parseJson(text) : { signature: text.trim() }
  if ('peer' in value) return parseBinding(value)
  if (draft === null) {
    throw new OpenSeedError('invalid_request', {
      message: 'Nothing waits for a signature here.',
      hint: 'openseed wallet bind prints what has to be signed.',
    })
  }
  return { ...draft, signature: withUsualParity(asHex(value['signature'], 'signature')) }
}

function parseJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (error) {
    throw new OpenSeedError('invalid_request', { message: 'That is no signature and no JSON.', cause: error })
  }
}

// Some hardware wallets end a signature with 0 or 1 where others write 27 or 28.
function withUsualParity(signature: Hex): Hex {
  if (signature.length !== 132) return signature
  const last = Number.parseInt(signature.slice(-2), 16)
  return last > 1 ? signature : `0x${signature.slice(2, -2)}${(last + 27).toString(16)}`
}
