// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {ContractWallet} from "../mocks/ContractWallet.sol";

contract RefundTest is EscrowBase {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = fund(configOf(1), DEPOSIT);
    }

    // ---------------------------------------------------------------------------------------------------- refund

    function test_refund_paysThePayer() public {
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Refunded(id, receiver, 1000);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1000);
        assertEq(token.balanceOf(payer), 1000);
        assertEq(token.balanceOf(receiver), 0);
        assertChannel(id, DEPOSIT - 1000, 0);
        assertEq(escrow.refundNonce(id), 1);
    }

    function test_refund_isOpenToTheReceiverAuthorizer() public {
        vm.prank(receiverAuthorizer);
        escrow.refund(configOf(1), 1000);
        assertEq(token.balanceOf(payer), 1000);
    }

    function test_refund_paysNoMoreThanUnclaimed() public {
        claimAsReceiver(configOf(1), 700);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Refunded(id, receiver, DEPOSIT - 700);
        vm.prank(receiver);
        escrow.refund(configOf(1), type(uint128).max);
        assertEq(token.balanceOf(payer), DEPOSIT - 700);
        assertChannel(id, 700, 700);
    }

    function test_refund_closesAChannelThatIsEmptyAndUnclaimed() public {
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Refunded(id, receiver, DEPOSIT);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.ChannelClosed(id, configOf(1));
        vm.prank(receiver);
        escrow.refund(configOf(1), DEPOSIT);
    }

    function test_refund_countsEvenWhenNothingMoves() public {
        claimAsReceiver(configOf(1), DEPOSIT);
        vm.recordLogs();
        vm.prank(receiver);
        escrow.refund(configOf(1), 1);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(escrow.refundNonce(id), 1);
        assertEq(token.balanceOf(payer), 0);
    }

    function test_refund_reverts_whenSenderIsNotTheReceiverSide() public {
        address[4] memory senders = [stranger, payer, authorizer, relay];
        for (uint256 i = 0; i < senders.length; ++i) {
            vm.prank(senders[i]);
            vm.expectRevert(IChannelEscrow.NotAuthorizedToRefund.selector);
            escrow.refund(configOf(1), 1);
        }
    }

    function test_refund_reverts_whenAmountIsZero() public {
        vm.prank(receiver);
        vm.expectRevert(IChannelEscrow.ZeroRefund.selector);
        escrow.refund(configOf(1), 0);
        assertEq(escrow.refundNonce(id), 0);
    }

    // --------------------------------------------------------------------------------- with a withdrawal pending

    function test_refund_lowersAPendingWithdrawal() public {
        _initiate(1000);
        vm.prank(receiver);
        escrow.refund(configOf(1), 400);
        assertPending(id, 600, START);
    }

    function test_refund_clearsAPendingWithdrawalItCovers() public {
        _initiate(1000);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1000);
        assertPending(id, 0, 0);
    }

    function test_refund_clearsAPendingWithdrawalItExceeds() public {
        _initiate(1000);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1001);
        assertPending(id, 0, 0);
        assertChannel(id, DEPOSIT - 1001, 0);
    }

    function test_refund_leavesAPendingWithdrawalWhenNothingMoves() public {
        _initiate(1000);
        claimAsReceiver(configOf(1), DEPOSIT);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1000);
        assertPending(id, 1000, START);
    }

    function testFuzz_refund_andWithdrawalNeverPayMoreThanTheDeposit(uint128 asked, uint128 refunded) public {
        asked = uint128(bound(asked, 1, DEPOSIT));
        refunded = uint128(bound(refunded, 1, type(uint128).max));
        _initiate(asked);
        vm.prank(receiver);
        escrow.refund(configOf(1), refunded);
        (uint128 pending,) = escrow.pendingWithdrawals(id);
        uint128 paid = refunded < DEPOSIT ? refunded : DEPOSIT;
        assertEq(pending, paid >= asked ? 0 : asked - paid);
        vm.warp(START + DELAY);
        if (pending != 0) {
            vm.prank(payer);
            escrow.finalizeWithdraw(configOf(1));
        }
        assertEq(token.balanceOf(payer), paid >= asked ? paid : asked);
    }

    // --------------------------------------------------------------------------------------- refundWithSignature

    function test_refundWithSignature_paysThePayerWhateverTheSender() public {
        bytes memory signature = signRefund(id, 0, 1000);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Refunded(id, address(0), 1000);
        vm.prank(address(0));
        escrow.refundWithSignature(configOf(1), 1000, 0, signature);
        assertEq(token.balanceOf(payer), 1000);
        assertEq(escrow.refundNonce(id), 1);
    }

    function test_refundWithSignature_asksAnAuthorizerWithCode() public {
        ContractWallet wallet = new ContractWallet(receiverAuthorizer);
        IChannelEscrow.ChannelConfig memory config = configOf(2);
        config.receiverAuthorizer = address(wallet);
        bytes32 walletId = fund(config, DEPOSIT);
        bytes memory signature = signRefund(walletId, 0, 10);
        wallet.become(ContractWallet.Mood.AnswersOther);
        vm.expectRevert(IChannelEscrow.InvalidSignature.selector);
        escrow.refundWithSignature(config, 10, 0, signature);
        wallet.become(ContractWallet.Mood.Honest);
        escrow.refundWithSignature(config, 10, 0, signature);
        assertChannel(walletId, DEPOSIT - 10, 0);
    }

    function test_refundWithSignature_reverts_whenReplayed() public {
        bytes memory signature = signRefund(id, 0, 1000);
        escrow.refundWithSignature(configOf(1), 1000, 0, signature);
        _expectRevert(1000, 0, signature, IChannelEscrow.InvalidRefundNonce.selector);
        _expectRevert(1000, 1, signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_refundWithSignature_reverts_whenADirectRefundCameFirst() public {
        bytes memory signature = signRefund(id, 0, 1000);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1);
        _expectRevert(1000, 0, signature, IChannelEscrow.InvalidRefundNonce.selector);
    }

    function test_refundWithSignature_reverts_whenTheNonceIsAhead() public {
        bytes memory signature = signRefund(id, 1, 1000);
        _expectRevert(1000, 1, signature, IChannelEscrow.InvalidRefundNonce.selector);
    }

    function test_refundWithSignature_reverts_whenSignedByAnother() public {
        bytes32 digest = escrow.getRefundDigest(id, 0, 1000);
        _expectRevert(1000, 0, sign(strangerKey, digest), IChannelEscrow.InvalidSignature.selector);
        _expectRevert(1000, 0, sign(payerKey, digest), IChannelEscrow.InvalidSignature.selector);
        _expectRevert(1000, 0, "", IChannelEscrow.InvalidSignature.selector);
        _expectRevert(1000, 0, mirrored(signRefund(id, 0, 1000)), IChannelEscrow.InvalidSignature.selector);
    }

    function test_refundWithSignature_reverts_whenNobodyIsTheAuthorizer() public {
        IChannelEscrow.ChannelConfig memory config = configOf(9);
        config.receiverAuthorizer = address(0);
        bytes memory nobodys = abi.encodePacked(bytes32(0), bytes32(0), uint8(27));
        vm.expectRevert(IChannelEscrow.InvalidSignature.selector);
        escrow.refundWithSignature(config, 1, 0, nobodys);
    }

    function test_refundWithSignature_reverts_whenTheAmountWasChanged() public {
        bytes memory signature = signRefund(id, 0, 1000);
        _expectRevert(1001, 0, signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_refundWithSignature_reverts_whenSignedForAnotherChannel() public {
        bytes32 other = fund(configOf(2), DEPOSIT);
        bytes memory signature = signRefund(other, 0, 1000);
        _expectRevert(1000, 0, signature, IChannelEscrow.InvalidSignature.selector);
    }

    function test_refundWithSignature_reverts_whenAmountIsZero() public {
        bytes memory signature = signRefund(id, 0, 0);
        _expectRevert(0, 0, signature, IChannelEscrow.ZeroRefund.selector);
        assertEq(escrow.refundNonce(id), 0);
    }

    function _initiate(uint128 amount) private {
        vm.prank(payer);
        escrow.initiateWithdraw(configOf(1), amount);
    }

    function _expectRevert(uint128 amount, uint256 nonce, bytes memory signature, bytes4 selector) private {
        vm.expectRevert(selector);
        escrow.refundWithSignature(configOf(1), amount, nonce, signature);
    }
}
