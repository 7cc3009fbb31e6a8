// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../interfaces/IChannelEscrow.sol";

/// @title Hashes
/// @notice The EIP-712 domain, type hashes and digests of the batch-settlement scheme.
library Hashes {
    bytes32 internal constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 internal constant VOUCHER_TYPEHASH =
        keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 internal constant REFUND_TYPEHASH =
        keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 internal constant CLAIM_BATCH_TYPEHASH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );
    bytes32 internal constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");

    string internal constant DOMAIN_NAME = "x402 Batch Settlement";
    string internal constant DOMAIN_VERSION = "1";
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant DOMAIN_NAME_HASH = keccak256(bytes(DOMAIN_NAME));
    bytes32 private constant DOMAIN_VERSION_HASH = keccak256(bytes(DOMAIN_VERSION));

    /// @dev Never cached, so that it is right after a fork of the chain and wherever the code is placed.
    function domainSeparator() internal view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, DOMAIN_NAME_HASH, DOMAIN_VERSION_HASH, block.chainid, address(this))
        );
    }

    function channelId(bytes32 separator, IChannelEscrow.ChannelConfig calldata config)
        internal
        pure
        returns (bytes32)
    {
        return typedData(separator, keccak256(abi.encode(CHANNEL_CONFIG_TYPEHASH, config)));
    }

    function voucher(bytes32 separator, bytes32 id, uint128 maxClaimableAmount)
        internal
        pure
        returns (bytes32)
    {
        return typedData(separator, keccak256(abi.encode(VOUCHER_TYPEHASH, id, maxClaimableAmount)));
    }

    function refund(bytes32 separator, bytes32 id, uint256 nonce, uint128 amount)
        internal
        pure
        returns (bytes32)
    {
        return typedData(separator, keccak256(abi.encode(REFUND_TYPEHASH, id, nonce, amount)));
    }

    /// @notice The digest of a claim batch, with the id of each row's channel, which is worth computing only once.
    function claimBatch(bytes32 separator, IChannelEscrow.VoucherClaim[] calldata rows)
        internal
        pure
        returns (bytes32 digest, bytes32[] memory ids)
    {
        ids = new bytes32[](rows.length);
        bytes32[] memory entries = new bytes32[](rows.length);
        for (uint256 i = 0; i < rows.length; ++i) {
            IChannelEscrow.VoucherClaim calldata row = rows[i];
            ids[i] = channelId(separator, row.voucher.channel);
            entries[i] = keccak256(
                abi.encode(CLAIM_ENTRY_TYPEHASH, ids[i], row.voucher.maxClaimableAmount, row.totalClaimed)
            );
        }
        bytes32 claimsHash = keccak256(abi.encodePacked(entries));
        digest = typedData(separator, keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, claimsHash)));
    }

    function typedData(bytes32 separator, bytes32 structHash) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }
}
