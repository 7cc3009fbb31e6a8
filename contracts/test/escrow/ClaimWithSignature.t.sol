// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {ContractWallet} from "../mocks/ContractWallet.sol";

contract ClaimWithSignatureTest is EscrowBase {
    bytes32 private id;
    bytes32 private secondId;

    function setUp() public override {
        super.setUp();
        id = fund(configOf(1), DEPOSIT);
        secondId = fund(configOf(2), DEPOSIT);
    }

    function test_claimWithSignature_recordsWhatIsDue() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Claimed(id, relay, 700, 700);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Claimed(secondId, relay, 20, 20);
        vm.prank(relay);
        escrow.claimWithSignature(rows, signature);
        assertChannel(id, DEPOSIT, 700);
        assertChannel(secondId, DEPOSIT, 20);
        assertReceiver(receiver, 720, 0);
    }

    function test_claimWithSignature_doesNotDependOnItsSender() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        vm.prank(address(0));
        escrow.claimWithSignature(rows, signature);
    }

    function test_claimWithSignature_changesNothingWhenReplayed() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        escrow.claimWithSignature(rows, signature);
        vm.recordLogs();
        vm.prank(stranger);
        escrow.claimWithSignature(rows, signature);
        assertEq(vm.getRecordedLogs().length, 0);
        assertChannel(id, DEPOSIT, 700);
        assertReceiver(receiver, 720, 0);
    }

    function test_claimWithSignature_servesSeveralReceiversOfOneAuthorizer() public {
        IChannelEscrow.ChannelConfig memory other = configOf(3);
        other.receiver = makeAddr("second receiver");
        fund(other, DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 10, 10);
        rows[1] = rowOf(other, 30, 30);
        escrow.claimWithSignature(rows, signBatch(rows));
        assertReceiver(receiver, 10, 0);
        assertReceiver(other.receiver, 30, 0);
    }

    function test_claimWithSignature_asksAnAuthorizerWithCode() public {
        ContractWallet wallet = new ContractWallet(receiverAuthorizer);
        IChannelEscrow.ChannelConfig memory config = configOf(3);
        config.receiverAuthorizer = address(wallet);
        bytes32 walletId = fund(config, DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(config, 10, 10);
        bytes memory signature = signBatch(rows);
        wallet.become(ContractWallet.Mood.Reverts);
        _expectRevert(rows, signature, IChannelEscrow.InvalidSignature.selector);
        wallet.become(ContractWallet.Mood.Honest);
        escrow.claimWithSignature(rows, signature);
        assertChannel(walletId, DEPOSIT, 10);
    }

    function test_claimWithSignature_reverts_whenEmpty() public {
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](0);
        _expectRevert(rows, signBatch(rows), IChannelEscrow.EmptyBatch.selector);
    }

    function test_claimWithSignature_reverts_whenSignedByAnother() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes32 digest = escrow.getClaimBatchDigest(rows);
        _expectRevert(rows, sign(strangerKey, digest), IChannelEscrow.InvalidSignature.selector);
        _expectRevert(rows, sign(authorizerKey, digest), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claimWithSignature_reverts_whenTheSignatureIsMalformed() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory valid = signBatch(rows);
        (bytes32 r, bytes32 s,) = parts(valid);
        _expectRevert(rows, "", IChannelEscrow.InvalidSignature.selector);
        _expectRevert(rows, mirrored(valid), IChannelEscrow.InvalidSignature.selector);
        _expectRevert(rows, abi.encodePacked(r, s, uint8(29)), IChannelEscrow.InvalidSignature.selector);
        _expectRevert(rows, abi.encodePacked(valid, uint8(0)), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claimWithSignature_reverts_whenARowWasChanged() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        rows[0].totalClaimed = 701;
        _expectRevert(rows, signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_claimWithSignature_reverts_whenRowsWereReordered() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        (rows[0], rows[1]) = (rows[1], rows[0]);
        _expectRevert(rows, signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_claimWithSignature_reverts_whenARowWasLeftOut() public {
        IChannelEscrow.VoucherClaim[] memory rows = _twoRows();
        bytes memory signature = signBatch(rows);
        _expectRevert(rowsOf(rows[0]), signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_claimWithSignature_reverts_whenRowsNameDifferentAuthorizers() public {
        IChannelEscrow.ChannelConfig memory other = configOf(3);
        other.receiverAuthorizer = stranger;
        fund(other, DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 10, 10);
        rows[1] = rowOf(other, 30, 30);
        _expectRevert(rows, signBatch(rows), IChannelEscrow.NotReceiverAuthorizer.selector);
        assertChannel(id, DEPOSIT, 0);
    }

    function test_claimWithSignature_judgesRowsAsClaimDoes() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 10, 11);
        _expectRevert(rows, signBatch(rows), IChannelEscrow.ClaimExceedsCeiling.selector);
        rows = rowsOf(configOf(1), DEPOSIT + 1, DEPOSIT + 1);
        _expectRevert(rows, signBatch(rows), IChannelEscrow.ClaimExceedsBalance.selector);
        rows = rowsOf(configOf(1), 10, 10);
        rows[0].signature = sign(strangerKey, escrow.getVoucherDigest(id, 10));
        _expectRevert(rows, signBatch(rows), IChannelEscrow.InvalidSignature.selector);
    }

    function _twoRows() private view returns (IChannelEscrow.VoucherClaim[] memory rows) {
        rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 1000, 700);
        rows[1] = rowOf(configOf(2), 20, 20);
    }

    function _expectRevert(IChannelEscrow.VoucherClaim[] memory rows, bytes memory signature, bytes4 selector)
        private
    {
        vm.expectRevert(selector);
        escrow.claimWithSignature(rows, signature);
    }
}
