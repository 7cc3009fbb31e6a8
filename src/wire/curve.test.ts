import { Wallet } from 'ethers'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { curve, nativeCurve, pureCurve } from './curve.ts'
import { bytesToHex, type Hex } from './hex.ts'

const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const key: Hex = '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d'
const digest: Hex = '0xfc266e9bb1d65ff90baf2637022f7edeb48596036f599ffc9c394eb5a89ae072'
const word = (value: bigint) => value.toString(16).padStart(64, '0')
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(bytesToHex)
const privateKey = fc.bigInt({ min: 1n, max: order - 1n }).map((scalar) => `0x${word(scalar)}` as const)
const curves = [
  ['native', nativeCurve()],
  ['pure', pureCurve()],
  ['chosen', curve],
] as const

describe.each(curves)('the %s curve', (_name, curve) => {
  const signature = curve.sign(digest, key)
  const r = signature.slice(2, 66)
  const s = BigInt(`0x${signature.slice(66, 130)}`)
  const v = signature.slice(130)
  const otherV = v === '1b' ? '1c' : '1b'

  test('signs as the well-known vector says and recovers its signer', () => {
    expect(signature).toBe(
      '0xd1ebd9987c9a02521d5f0a18f7b31c096e80c10253e65ef0d17f4922b6f6c67d6bee80c16f07f7bd2fdb7a55e88805ba5c14df21f66c97276fd4ab7345f93e6f1c',
    )
    expect(curve.addressOf(key)).toBe('0x70997970c51812dc3a010c7d01b50e0d17dc79c8')
    expect(curve.recover(digest, signature)).toBe('0x70997970c51812dc3a010c7d01b50e0d17dc79c8')
  })

  test('refuses every malformed signature', () => {
    const malformed: Record<string, string> = {
      empty: '0x',
      short: signature.slice(0, -2),
      long: `${signature}00`,
      compact: `0x${r}${word(s)}`,
      'high s': `0x${r}${word(order - s)}${otherV}`,
      'high s, v kept': `0x${r}${word(order - s)}${v}`,
      'zero r': `0x${word(0n)}${word(s)}${v}`,
      'zero s': `0x${r}${word(0n)}${v}`,
      'all zero': `0x${'00'.repeat(65)}`,
      'r at the order': `0x${word(order)}${word(s)}${v}`,
      's at the order': `0x${r}${word(order)}${v}`,
      'r above all': `0x${'ff'.repeat(32)}${word(s)}${v}`,
    }
    for (const v of ['00', '01', '02', '1a', '1d', '1e', '25', 'ff'])
      malformed[`v ${v}`] = `0x${r}${word(s)}${v}`
    const taken = Object.entries(malformed).filter(
      ([, signature]) => curve.recover(digest, signature as Hex) !== null,
    )
    expect(taken).toEqual([])
  })

  test('takes s up to half the order and refuses the next', () => {
    const half = order / 2n
    expect(curve.recover(digest, `0x${r}${word(half)}1b`)).not.toBeNull()
    expect(curve.recover(digest, `0x${r}${word(half + 1n)}1b`)).toBeNull()
  })

  test('a foreign key, another digest and a flipped v give another signer', () => {
    const signer = curve.addressOf(key)
    expect(curve.recover(digest, curve.sign(digest, `0x${'11'.repeat(32)}`))).not.toBe(signer)
    expect(curve.recover(`0x${'22'.repeat(32)}`, signature)).not.toBe(signer)
    expect(curve.recover(digest, `0x${r}${word(s)}${otherV}` as Hex)).not.toBe(signer)
  })

  test('impossible private keys are refused without being quoted', () => {
    for (const wrong of [
      '0x',
      '0x01',
      `0x${word(0n)}`,
      `0x${word(order)}`,
      `0x${'ff'.repeat(32)}`,
      `${key}00`,
    ]) {
      for (const use of [() => curve.sign(digest, wrong as Hex), () => curve.addressOf(wrong as Hex)]) {
        expect(use).toThrow(expect.objectContaining({ code: 'invalid_message' }))
        expect(use).not.toThrow(wrong.slice(2) || 'nothing')
      }
    }
  })
})

describe('both curves', () => {
  const [native, pure] = [nativeCurve(), pureCurve()]

  test('sign and recover alike on random keys and digests', () => {
    fc.assert(
      fc.property(privateKey, bytes32, (key, digest) => {
        const signature = native.sign(digest, key)
        expect(pure.sign(digest, key)).toBe(signature)
        expect(native.addressOf(key)).toBe(new Wallet(key).address.toLowerCase())
        expect(native.recover(digest, signature)).toBe(native.addressOf(key))
        expect(pure.recover(digest, signature)).toBe(pure.addressOf(key))
      }),
      { numRuns: 30 },
    )
  })

  test('agree on random bytes as signatures', () => {
    const anySignature = fc.oneof(
      fc.uint8Array({ maxLength: 70 }),
      fc
        .tuple(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.constantFrom(27, 28))
        .map(([rs, v]) => Uint8Array.of(...rs.with(32, rs[32]! & 0x7f), v)),
    )
    fc.assert(
      fc.property(bytes32, anySignature, (digest, bytes) => {
        const signature = bytesToHex(bytes)
        expect(native.recover(digest, signature)).toBe(pure.recover(digest, signature))
      }),
      { numRuns: 60 },
    )
  })
})
