// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelEscrow} from "../../src/ChannelEscrow.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";
import {Transfers} from "../../src/libraries/Transfers.sol";
import {EscrowBase} from "../base/EscrowBase.sol";

/// @notice What peers that never saw this code rely on: selectors, domain, constants, storage layout.
contract InterfaceTest is EscrowBase {
    function test_functions_haveThePublishedSelectors() public pure {
        assertEq(IChannelEscrow.multicall.selector, bytes4(0xac9650d8));
        assertEq(IChannelEscrow.deposit.selector, bytes4(0x140f1e75));
        assertEq(IChannelEscrow.claim.selector, bytes4(0x29237b0c));
        assertEq(IChannelEscrow.claimWithSignature.selector, bytes4(0xe43ce1f2));
        assertEq(IChannelEscrow.settle.selector, bytes4(0x9db32a8f));
        assertEq(IChannelEscrow.initiateWithdraw.selector, bytes4(0xcf5cf3dc));
        assertEq(IChannelEscrow.finalizeWithdraw.selector, bytes4(0xe88377b1));
        assertEq(IChannelEscrow.refund.selector, bytes4(0xdce4bfae));
        assertEq(IChannelEscrow.refundWithSignature.selector, bytes4(0xb77433e9));
        assertEq(IChannelEscrow.channels.selector, bytes4(0x7a7ebd7b));
        assertEq(IChannelEscrow.pendingWithdrawals.selector, bytes4(0xb7f06ebe));
        assertEq(IChannelEscrow.refundNonce.selector, bytes4(0xf0dc792e));
        assertEq(IChannelEscrow.receivers.selector, bytes4(0x21ff6389));
        assertEq(IChannelEscrow.getChannelId.selector, bytes4(0x5e5e0b87));
        assertEq(IChannelEscrow.getVoucherDigest.selector, bytes4(0x862bb199));
        assertEq(IChannelEscrow.getRefundDigest.selector, bytes4(0xe25cf189));
        assertEq(IChannelEscrow.getClaimBatchDigest.selector, bytes4(0x488ccc3b));
        assertEq(IChannelEscrow.eip712Domain.selector, bytes4(0x84b0196e));
    }

    function test_errors_haveThePublishedSelectors() public pure {
        assertEq(IChannelEscrow.InvalidChannel.selector, bytes4(0xea3a9a39));
        assertEq(IChannelEscrow.ZeroDeposit.selector, bytes4(0x56316e87));
        assertEq(IChannelEscrow.DepositOverflow.selector, bytes4(0x1132981b));
        assertEq(IChannelEscrow.InvalidSignature.selector, bytes4(0x8baa579f));
        assertEq(IChannelEscrow.NotReceiverAuthorizer.selector, bytes4(0xf5e2237d));
        assertEq(IChannelEscrow.NotAuthorizedToClaim.selector, bytes4(0xdefb7069));
        assertEq(IChannelEscrow.NotAuthorizedToRefund.selector, bytes4(0x7864f008));
        assertEq(IChannelEscrow.ClaimExceedsCeiling.selector, bytes4(0xf1789775));
        assertEq(IChannelEscrow.ClaimExceedsBalance.selector, bytes4(0x7d8242b6));
        assertEq(IChannelEscrow.WithdrawalAlreadyPending.selector, bytes4(0xa2aed0f0));
        assertEq(IChannelEscrow.WithdrawalNotPending.selector, bytes4(0x3a0a1ca6));
        assertEq(IChannelEscrow.NotAuthorizedToFinalizeWithdraw.selector, bytes4(0x15f969d5));
        assertEq(IChannelEscrow.WithdrawDelayNotElapsed.selector, bytes4(0xf3965827));
        assertEq(IChannelEscrow.NothingToWithdraw.selector, bytes4(0xd0d04f60));
        assertEq(IChannelEscrow.WithdrawAmountExceedsAvailable.selector, bytes4(0x6d3d5764));
        assertEq(IChannelEscrow.WithdrawDelayOutOfRange.selector, bytes4(0x4574fab6));
        assertEq(IChannelEscrow.EmptyBatch.selector, bytes4(0xc2e5347d));
        assertEq(IChannelEscrow.DepositCollectionFailed.selector, bytes4(0xeb43592c));
        assertEq(IChannelEscrow.InvalidCollector.selector, bytes4(0x18b1afd4));
        assertEq(IChannelEscrow.InvalidRefundNonce.selector, bytes4(0x164f1afe));
        assertEq(IChannelEscrow.ZeroRefund.selector, bytes4(0xd758525c));
        assertEq(IChannelEscrow.ReentrancyGuardReentrantCall.selector, bytes4(0x3ee5aeb5));
        assertEq(Signatures.ECDSAInvalidSignature.selector, bytes4(0xf645eedf));
        assertEq(Signatures.ECDSAInvalidSignatureLength.selector, bytes4(0xfce698f7));
        assertEq(Signatures.ECDSAInvalidSignatureS.selector, bytes4(0xd78bce0c));
        assertEq(Transfers.SafeERC20FailedOperation.selector, bytes4(0x5274afe7));
    }

    function test_constants() public view {
        assertEq(escrow.MIN_WITHDRAW_DELAY(), 900);
        assertEq(escrow.MAX_WITHDRAW_DELAY(), 2_592_000);
    }

    function test_eip712Domain_describesTheDomain() public view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        ) = escrow.eip712Domain();
        assertEq(fields, bytes1(0x0f));
        assertEq(name, "x402 Batch Settlement");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifyingContract, address(escrow));
        assertEq(salt, bytes32(0));
        assertEq(extensions.length, 0);
    }

    function test_digests_followTheChainAndTheAddress() public {
        bytes32 here = escrow.getChannelId(configOf(1));
        ChannelEscrow elsewhere = ChannelEscrow(makeAddr("elsewhere"));
        vm.etch(address(elsewhere), address(escrow).code);
        assertEq(elsewhere.getChannelId(configOf(1)), new ChannelEscrowProbe().idAt(elsewhere, configOf(1)));
        assertNotEq(elsewhere.getChannelId(configOf(1)), here);
        vm.chainId(block.chainid + 1);
        assertNotEq(escrow.getChannelId(configOf(1)), here);
    }

    function test_getClaimBatchDigest_isDefinedForNoRows() public view {
        assertNotEq(escrow.getClaimBatchDigest(new IChannelEscrow.VoucherClaim[](0)), bytes32(0));
    }

    function testFuzz_getChannelId_dependsOnEveryField(uint8 field) public view {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        bytes32 before = escrow.getChannelId(config);
        field = uint8(bound(field, 0, 6));
        if (field == 0) config.payer = stranger;
        if (field == 1) config.payerAuthorizer = stranger;
        if (field == 2) config.receiver = stranger;
        if (field == 3) config.receiverAuthorizer = stranger;
        if (field == 4) config.token = stranger;
        if (field == 5) config.withdrawDelay += 1;
        if (field == 6) config.salt = bytes32(uint256(2));
        assertNotEq(escrow.getChannelId(config), before);
    }

    function test_storage_packsAChannelAndAReceiverInOneSlotEach() public {
        bytes32 id = fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 700);
        bytes32 channelSlot = keccak256(abi.encode(id, uint256(0)));
        assertEq(vm.load(address(escrow), channelSlot), bytes32((uint256(700) << 128) | DEPOSIT));
        bytes32 receiverSlot =
            keccak256(abi.encode(address(token), keccak256(abi.encode(receiver, uint256(3)))));
        assertEq(vm.load(address(escrow), receiverSlot), bytes32(uint256(700)));
    }
}

/// @notice Computes a channel id from the published type and domain strings, without the escrow's code.
contract ChannelEscrowProbe {
    function idAt(ChannelEscrow escrow, IChannelEscrow.ChannelConfig calldata config)
        external
        view
        returns (bytes32)
    {
        bytes32 separator = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        bytes32 typehash = keccak256(
            "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
        );
        return keccak256(abi.encodePacked(hex"1901", separator, keccak256(abi.encode(typehash, config))));
    }
}
