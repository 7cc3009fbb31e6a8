/** What a wallet elsewhere is given to sign for a node: the EIP-712 message of a binding, as wallets take it. */
import { checksummed, bytesToHex, type Address } from './hex.ts'
import { refuseMessage } from './fields.ts'
import type { PeerBinding } from './peer-binding.ts'
import { peerIdBytes } from './peer-id.ts'

/** The argument of `eth_signTypedData_v4`. Its digest is `Digests.peerBinding`. Throws `invalid_message` for no peer id. */
export function bindingTypedData(
  { chainId, escrow }: { chainId: number; escrow: Address },
  { peer, payTo, notBeforeSec, notAfterSec, seq }: PeerBinding,
) {
  const peerId = peerIdBytes(peer) ?? refuseMessage('peer', 'a peer id')
  return {
    types: {
      EIP712Domain: [
        { name: 'name', type: 'string' },
        { name: 'version', type: 'string' },
        { name: 'chainId', type: 'uint256' },
        { name: 'verifyingContract', type: 'address' },
      ],
      PeerBinding: [
        { name: 'peerId', type: 'bytes' },
        { name: 'payTo', type: 'address' },
        { name: 'notBefore', type: 'uint64' },
        { name: 'notAfter', type: 'uint64' },
        { name: 'seq', type: 'uint64' },
      ],
    },
    primaryType: 'PeerBinding',
    domain: { name: 'OpenSeed', version: '1', chainId, verifyingContract: checksummed(escrow) },
    message: {
      peerId: bytesToHex(peerId),
      payTo: checksummed(payTo),
      notBefore: notBeforeSec,
      notAfter: notAfterSec,
      seq,
    },
  }
}
