// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice An account whose signatures are those of its owner's key, or which misbehaves when asked.
contract ContractWallet {
    enum Mood {
        Honest,
        Reverts,
        RevertsWithYes,
        AnswersShort,
        AnswersOther
    }

    address private immutable OWNER;
    Mood private mood;

    constructor(address owner) {
        OWNER = owner;
    }

    function become(Mood next) external {
        mood = next;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        if (mood == Mood.Reverts) revert("no");
        if (mood == Mood.RevertsWithYes) {
            assembly ("memory-safe") {
                mstore(0, 0x1626ba7e00000000000000000000000000000000000000000000000000000000)
                revert(0, 32)
            }
        }
        if (mood == Mood.AnswersShort) {
            assembly ("memory-safe") {
                mstore(0, 0x1626ba7e00000000000000000000000000000000000000000000000000000000)
                return(0, 4)
            }
        }
        if (mood == Mood.AnswersOther) return 0xffffffff;
        address signer =
            ecrecover(hash, uint8(signature[64]), bytes32(signature[0:32]), bytes32(signature[32:64]));
        return signer == OWNER ? this.isValidSignature.selector : bytes4(0);
    }
}
