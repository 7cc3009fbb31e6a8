// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title IDepositCollector
/// @notice Moves a payer's tokens into the escrow by whatever authorization the payer gave.
interface IDepositCollector {
    /// @notice Brings exactly `amount` of `token` from `payer` to the escrow, or reverts.
    /// @dev Only the escrow may call. The escrow trusts no collector: it compares its own balance before and after.
    /// @param channelId The channel that the payer's authorization must be bound to.
    /// @param collectorData What the payer signed, in the collector's own encoding.
    function collect(
        address payer,
        address token,
        uint256 amount,
        bytes32 channelId,
        bytes calldata collectorData
    ) external;
}
