/** A wallet's word that a node sells for it: signed once by the money key, so that the node's own key can stay hot. */
import { canonicalJson } from './canonical-json.ts'
import type { Curve } from './curve.ts'
import type { Digests } from './digests.ts'
import { expectInteger, expectObject, expectTimeSec, present, refuseMessage } from './fields.ts'
import { asAddress, asHex, bytesToHex, checksummed, hexToBytes, type Address, type Hex } from './hex.ts'
import { verifyBy, type NodeKey } from './node-key.ts'
import { asPeerId, type PeerId } from './peer-id.ts'
import type { SellerRecord } from './record.ts'
import { clockSkewSec } from './validate-record.ts'

/** What the wallet signs. */
export interface PeerBinding {
  peer: PeerId
  /** The wallet: who signs, and who is paid. */
  payTo: Address
  /** Unix seconds. */
  notBeforeSec: number
  /** Unix seconds, at most 90 days after `notBeforeSec`. */
  notAfterSec: number
  /** Of two bindings of one wallet the higher is the newer one; `nextSeq` gives one. */
  seq: number
}

/** A binding and the wallet's signature: 65 bytes, or whatever a contract wallet takes. */
export interface SignedBinding extends PeerBinding {
  signature: Hex
  /** The node's own signature over all of it: with that anyone may publish the binding under the node's name. */
  nodeSignature?: Hex
}

/** Asks a contract wallet (ERC-1271) whether a signature over a digest is its own. */
export type IsValidSignature = (wallet: Address, digest: Hex, signature: Hex) => Promise<boolean>

/** What the reader of a binding knows. */
export interface BindingRules {
  digests: Digests
  curve: Curve
  nowSec: number
  /** How far clocks may differ, in seconds; 120 unless told. */
  skewSec?: number
  /** Absent: wallets that are contracts are refused. */
  isValidSignature?: IsValidSignature
}

export type BindingRefusal = 'forged' | 'expired' | 'future' | 'too_long_lived'
export type BindingVerdict = { ok: true; hash: Hex } | { ok: false; reason: BindingRefusal }

/** The longest life of a binding in seconds: 90 days. */
export const mostBindingSec = 90 * 86_400

/**
 * The most bytes of a wallet's signature. What a contract may ask for is open; a registry's memory is not, and in the
 * DHT a binding has no more room than a record.
 */
export const mostSignatureBytes = 896

/** The EIP-712 digest by which records name a binding. */
export function bindingHash(digests: Digests, binding: PeerBinding): Hex {
  return digests.peerBinding(binding)
}

/** Signs a binding with the wallet's key. */
export function signBinding(digests: Digests, curve: Curve, key: Hex, binding: PeerBinding): SignedBinding {
  return { ...binding, signature: curve.sign(bindingHash(digests, binding), key) }
}

/** Judges time and signature of a binding. Throws only what `isValidSignature` throws. */
export async function verifyBinding(signed: SignedBinding, rules: BindingRules): Promise<BindingVerdict> {
  const { digests, curve, nowSec, skewSec = clockSkewSec, isValidSignature } = rules
  const { payTo, notBeforeSec, notAfterSec, signature } = signed
  if (notAfterSec - notBeforeSec > mostBindingSec) return { ok: false, reason: 'too_long_lived' }
  if (nowSec >= notAfterSec + skewSec || notAfterSec <= notBeforeSec) return { ok: false, reason: 'expired' }
  if (notBeforeSec > nowSec + skewSec) return { ok: false, reason: 'future' }
  const hash = bindingHash(digests, signed)
  // A key first, whatever the length: asking the chain is slow, and most wallets are keys.
  const isOwn =
    curve.recover(hash, signature) === payTo || ((await isValidSignature?.(payTo, hash, signature)) ?? false)
  return isOwn ? { ok: true, hash } : { ok: false, reason: 'forged' }
}

/** True when the record names this binding and both are of the same node and wallet. Signatures are not judged. */
export function bindingCovers(digests: Digests, binding: PeerBinding, record: SellerRecord): boolean {
  return (
    binding.peer === record.peer &&
    binding.payTo === record.body.payTo &&
    bindingHash(digests, binding) === record.body.bindingHash
  )
}

/**
 * Adds the node's own signature, Ed25519 over `openseed/bind/1\n` and the canonical JSON: any wallet could name a node
 * that is not its own.
 */
export function countersign(key: NodeKey, binding: SignedBinding): SignedBinding {
  return { ...binding, nodeSignature: bytesToHex(key.sign(countersigned(binding))) }
}

/** True when the node that the binding names has signed it. */
export function isCountersigned(binding: SignedBinding): boolean {
  const { peer, nodeSignature } = binding
  return nodeSignature !== undefined && verifyBy(peer, countersigned(binding), hexToBytes(nodeSignature))
}

function countersigned(binding: SignedBinding): Uint8Array {
  return Buffer.from(`openseed/bind/1\n${canonicalJson(encodeWalletPart(binding))}`)
}

/** The JSON form. */
export function encodeBinding(signed: SignedBinding): object {
  const { nodeSignature } = signed
  return { ...encodeWalletPart(signed), ...(nodeSignature !== undefined && { nodeSignature }) }
}

function encodeWalletPart({ peer, payTo, notBeforeSec, notAfterSec, seq, signature }: SignedBinding) {
  return {
    peer,
    payTo: checksummed(payTo),
    notBefore: notBeforeSec,
    notAfter: notAfterSec,
    seq,
    signature,
  }
}

/** Parses the JSON form; nothing is verified. Throws `invalid_message`. */
export function parseBinding(input: unknown): SignedBinding {
  const binding = expectObject(input, 'binding')
  const signature = asHex(binding.signature, 'signature')
  if (signature.length > 2 + 2 * mostSignatureBytes)
    return refuseMessage('signature', `at most ${mostSignatureBytes} bytes`)
  return {
    peer: asPeerId(binding.peer),
    payTo: asAddress(binding.payTo, 'payTo'),
    notBeforeSec: expectTimeSec(binding.notBefore, 'notBefore'),
    notAfterSec: expectTimeSec(binding.notAfter, 'notAfter'),
    seq: expectInteger(binding.seq, 'seq'),
    signature,
    ...(present(binding.nodeSignature) !== undefined && { nodeSignature: asNodeSignature(binding) }),
  }
}

function asNodeSignature({ nodeSignature }: Record<string, unknown>): Hex {
  const signature = asHex(nodeSignature, 'nodeSignature')
  return signature.length === 130 ? signature : refuseMessage('nodeSignature', '64 bytes')
}
