// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice The contract account's side of a signature check.
interface IERC1271 {
    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4 magicValue);
}

/// @title Signatures
/// @notice secp256k1 and EIP-1271 signatures, in one canonical form each: 65 bytes r, s, v with low s and v 27 or 28.
library Signatures {
    /// @notice No key at all made this signature.
    error ECDSAInvalidSignature();
    error ECDSAInvalidSignatureLength(uint256 length);
    /// @notice The mirror image (high s) of a signature, which would be a second valid form of it.
    error ECDSAInvalidSignatureS(bytes32 s);

    uint256 private constant SIGNATURE_LENGTH = 65;
    bytes32 private constant HALF_CURVE_ORDER =
        0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The address whose key signed `digest`; never zero.
    function recover(bytes32 digest, bytes memory signature) internal pure returns (address) {
        if (signature.length != SIGNATURE_LENGTH) revert ECDSAInvalidSignatureLength(signature.length);
        (uint8 v, bytes32 r, bytes32 s) = split(signature);
        if (s > HALF_CURVE_ORDER) revert ECDSAInvalidSignatureS(s);
        address signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert ECDSAInvalidSignature();
        return signer;
    }

    /// @notice Whether `signer` stands behind `signature`: by its code when it has some, by its key otherwise.
    /// @dev Never reverts, whatever the signature or the contract does.
    function isValid(address signer, bytes32 digest, bytes memory signature) internal view returns (bool) {
        if (signer.code.length != 0) return isValidByContract(signer, digest, signature);
        if (signature.length != SIGNATURE_LENGTH) return false;
        (uint8 v, bytes32 r, bytes32 s) = split(signature);
        if (s > HALF_CURVE_ORDER) return false;
        address recovered = ecrecover(digest, v, r, s);
        return recovered != address(0) && recovered == signer;
    }

    /// @notice Whether the contract `signer` accepts `signature`; false for an address without code.
    function isValidByContract(address signer, bytes32 digest, bytes memory signature)
        private
        view
        returns (bool)
    {
        (bool success, bytes memory answer) =
            signer.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
        return success && answer.length >= 32
            && abi.decode(answer, (bytes32)) == bytes32(IERC1271.isValidSignature.selector);
    }

    /// @dev Only for a signature whose length was checked.
    function split(bytes memory signature) private pure returns (uint8 v, bytes32 r, bytes32 s) {
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
    }
}
