import { decodeBase58 as decodeByEthers, encodeBase58 as encodeByEthers } from 'ethers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeBase58, encodeBase58 } from './base58.ts'

test('numbers are written and read as others do it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
      const text = encodeBase58(bytes)
      expect(text).toBe(encodeByEthers(bytes))
      expect(Buffer.from(decodeBase58(text, bytes.length))).toEqual(Buffer.from(bytes))
      expect(BigInt(`0x${Buffer.from(bytes).toString('hex')}`)).toBe(decodeByEthers(text))
    }),
  )
})
