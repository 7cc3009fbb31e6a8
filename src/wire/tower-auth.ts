/** How a watchtower proves who it is: once with a code, from then on with its node key. */
import { createHash } from 'node:crypto'
import { expectInteger, expectLine, expectObject, expectText, refuseMessage } from './fields.ts'
import { verifyBy, type NodeKey } from './node-key.ts'
import { asPeerId, type PeerId } from './peer-id.ts'
import type { TowerPairing } from './tower.ts'

/** A tower that wants to follow a seller. */
export interface PairRequest {
  /** The seller's one-time code, in the form of `normalCode`. */
  code: string
  peer: PeerId
  /** What people call the tower. */
  name: string
  /** Ed25519 by `peer`. */
  signature: Uint8Array
}

/** A question for updates. */
export interface TowerAsk {
  peer: PeerId
  /** Unix milliseconds; each question of a tower has a later one than the last. */
  atMs: number
  /** The cursor up to which everything is on disk; empty for none. */
  since: string
}

// Without letters that look like digits.
const letters = '23456789ABCDEFGHJKMNPQRSTVWXYZ'
const codeLength = 20
const codePattern = new RegExp(`^[${letters}]{${codeLength}}$`)

/** A code of 20 letters in groups of four: 98 bits of the 32 random bytes given. */
export function pairingCode(random: Uint8Array): string {
  let rest = BigInt(`0x${Buffer.from(random).toString('hex')}`)
  let code = ''
  for (let at = 0; at < codeLength; at += 1) {
    code += letters[Number(rest % BigInt(letters.length))]
    rest /= BigInt(letters.length)
  }
  return code.replace(/(.{4})(?=.)/g, '$1-')
}

/** A code as it was typed, without hyphens and spaces, in capitals. Throws `invalid_message`. */
export function normalCode(input: unknown): string {
  const code = expectText(input, 'code', 64).replace(/[\s-]/g, '').toUpperCase()
  return codePattern.test(code)
    ? code
    : refuseMessage('code', `a pairing code of ${codeLength} letters and digits`)
}

/** sha256 of a code: what a seller keeps of it. */
export const codeHash = (code: string): Buffer => createHash('sha256').update(code).digest()

/** The JSON body of a pairing. */
export function encodePairRequest(key: NodeKey, code: string, name: string): Record<string, string> {
  const signature = key.sign(pairText(code, name))
  return { code, peer: key.peerId, name, signature: Buffer.from(signature).toString('base64url') }
}

/** Parses the JSON body. Throws `invalid_message`. */
export function parsePairRequest(input: unknown): PairRequest {
  const { code, peer, name, signature } = expectObject(input, 'body')
  return {
    code: normalCode(code),
    peer: asPeerId(peer, 'peer'),
    name: expectLine(name, 'name', 64),
    signature: Buffer.from(expectText(signature, 'signature', 128), 'base64url'),
  }
}

/** True when the node key that it names has signed it. */
export const isPairRequestSigned = ({ code, peer, name, signature }: PairRequest): boolean =>
  verifyBy(peer, pairText(code, name), signature)

/** The Authorization header of a question, good for this seller and this moment alone. */
export function towerAuthorization(
  key: NodeKey,
  seller: TowerPairing,
  { atMs, since }: Omit<TowerAsk, 'peer'>,
): string {
  const signature = key.sign(askText(seller, { peer: key.peerId, atMs, since }))
  return `OpenSeed-Tower ${key.peerId}.${atMs}.${Buffer.from(signature).toString('base64url')}`
}

/** Who asks, and the signature, out of the header. Throws `invalid_message`. */
export function parseTowerAuthorization(
  header: unknown,
): Omit<TowerAsk, 'since'> & { signature: Uint8Array } {
  const text = typeof header === 'string' ? header : ''
  const [, peer, at, signature] =
    /^OpenSeed-Tower (\w{1,128})\.(\d{1,16})\.([\w-]{86})$/.exec(text) ??
    refuseMessage('authorization', 'that of a watchtower')
  return {
    peer: asPeerId(peer, 'peer'),
    atMs: expectInteger(Number(at), 'atMs'),
    signature: Buffer.from(signature ?? '', 'base64url'),
  }
}

/** True when the tower has signed this question to this seller. */
export const isAskSigned = (seller: TowerPairing, ask: TowerAsk, signature: Uint8Array): boolean =>
  verifyBy(ask.peer, askText(seller, ask), signature)

// Only the seller that made the code knows it, so the word is good for no other.
const pairText = (code: string, name: string) =>
  Buffer.from(['openseed tower pair v1', codeHash(code).toString('hex'), name].join('\n'))

const askText = ({ network, escrow, receiverAuthorizer }: TowerPairing, { peer, atMs, since }: TowerAsk) =>
  Buffer.from(
    ['openseed tower updates v1', network, escrow, receiverAuthorizer, peer, atMs, since].join('\n'),
  )
