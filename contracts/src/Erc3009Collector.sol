// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IDepositCollector} from "./interfaces/IDepositCollector.sol";
import {IERC3009} from "./interfaces/IERC3009.sol";
import {Transfers} from "./libraries/Transfers.sol";

/// @title Erc3009Collector
/// @notice Funds channels by an ERC-3009 authorization: the payer signs, anyone pays the gas.
/// @dev `collectorData` is `abi.encode(uint256 validAfter, uint256 validBefore, uint256 salt, bytes signature)`. The
/// payer signs ReceiveWithAuthorization to this contract, with a nonce that names the channel: the same signature
/// funds no other channel, no other amount, and nothing twice.
contract Erc3009Collector is IDepositCollector {
    /// @notice The caller is not the escrow.
    error OnlyX402BatchSettlement();
    error InvalidX402BatchSettlementAddress();

    address private immutable ESCROW;

    constructor(address escrow) {
        if (escrow == address(0)) revert InvalidX402BatchSettlementAddress();
        ESCROW = escrow;
    }

    /// @notice The escrow that this collector serves.
    function x402BatchSettlement() external view returns (address) {
        return ESCROW;
    }

    /// @inheritdoc IDepositCollector
    function collect(
        address payer,
        address token,
        uint256 amount,
        bytes32 channelId,
        bytes calldata collectorData
    ) external {
        if (msg.sender != ESCROW) revert OnlyX402BatchSettlement();
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(collectorData, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IERC3009(token)
            .receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        Transfers.send(token, ESCROW, amount);
    }
}
