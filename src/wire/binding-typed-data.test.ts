import { TypedDataEncoder } from 'ethers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { nodeKey } from '../../test/fixtures/records.ts'
import { bindingTypedData } from './binding-typed-data.ts'
import { openDigests } from './digests.ts'
import { canonicalEscrow } from './network.ts'

test('what other wallets hash of it is the digest by which records name the binding', () => {
  const network = { chainId: 84_532, escrow: canonicalEscrow }
  const time = fc.integer({ min: 0, max: 2 ** 40 })
  fc.assert(
    fc.property(fc.nat(1000), time, time, time, (n, notBeforeSec, notAfterSec, seq) => {
      const { peerId } = nodeKey(n)
      const binding = { peer: peerId, payTo: canonicalEscrow, notBeforeSec, notAfterSec, seq }
      const { domain, types, message } = bindingTypedData(network, binding)
      const { PeerBinding } = types
      expect(TypedDataEncoder.hash(domain, { PeerBinding }, message)).toBe(
        openDigests(network).peerBinding(binding),
      )
    }),
    { numRuns: 50 },
  )
})
