// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What the collector uses of ERC-3009, in the form that takes signatures of any kind.
interface IERC3009 {
    /// @notice Executes a transfer that `from` signed, on the word of its recipient only: `to` must be the sender.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}
