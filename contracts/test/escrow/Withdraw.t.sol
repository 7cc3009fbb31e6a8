// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {EscrowBase} from "../base/EscrowBase.sol";

contract WithdrawTest is EscrowBase {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = fund(configOf(1), DEPOSIT);
    }

    // ------------------------------------------------------------------------------------------ initiateWithdraw

    function test_initiateWithdraw_startsTheDelay() public {
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.WithdrawInitiated(id, 1000, uint40(START + DELAY));
        vm.prank(payer);
        escrow.initiateWithdraw(configOf(1), 1000);
        assertPending(id, 1000, START);
        assertChannel(id, DEPOSIT, 0);
        assertEq(token.balanceOf(payer), 0);
    }

    function test_initiateWithdraw_isOpenToThePayersAuthorizer() public {
        vm.prank(authorizer);
        escrow.initiateWithdraw(configOf(1), DEPOSIT);
        assertPending(id, DEPOSIT, START);
    }

    function test_initiateWithdraw_reverts_whenSenderIsNotThePayerSide() public {
        _expectInitiateRevert(stranger, 1, IChannelEscrow.InvalidChannel.selector);
        _expectInitiateRevert(receiver, 1, IChannelEscrow.InvalidChannel.selector);
        _expectInitiateRevert(receiverAuthorizer, 1, IChannelEscrow.InvalidChannel.selector);
    }

    function test_initiateWithdraw_reverts_whenAmountIsZero() public {
        _expectInitiateRevert(payer, 0, IChannelEscrow.NothingToWithdraw.selector);
    }

    function test_initiateWithdraw_reverts_whenMoreThanUnclaimed() public {
        _expectInitiateRevert(payer, DEPOSIT + 1, IChannelEscrow.WithdrawAmountExceedsAvailable.selector);
        claimAsReceiver(configOf(1), 100);
        _expectInitiateRevert(payer, DEPOSIT - 99, IChannelEscrow.WithdrawAmountExceedsAvailable.selector);
        vm.prank(payer);
        escrow.initiateWithdraw(configOf(1), DEPOSIT - 100);
    }

    function test_initiateWithdraw_reverts_whenOneIsPending() public {
        _initiate(1);
        _expectInitiateRevert(payer, 1, IChannelEscrow.WithdrawalAlreadyPending.selector);
        _expectInitiateRevert(authorizer, 1, IChannelEscrow.WithdrawalAlreadyPending.selector);
        assertPending(id, 1, START);
    }

    function test_initiateWithdraw_reverts_forAChannelThatNeverWas() public {
        vm.prank(payer);
        vm.expectRevert(IChannelEscrow.WithdrawAmountExceedsAvailable.selector);
        escrow.initiateWithdraw(configOf(9), 1);
    }

    // ------------------------------------------------------------------------------------------ finalizeWithdraw

    function test_finalizeWithdraw_paysThePayer() public {
        _initiate(1000);
        vm.warp(START + DELAY);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.WithdrawFinalized(id, payer, 1000);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        assertEq(token.balanceOf(payer), 1000);
        assertChannel(id, DEPOSIT - 1000, 0);
        assertPending(id, 0, 0);
    }

    function test_finalizeWithdraw_paysThePayerWhenItsAuthorizerSendsIt() public {
        _initiate(1000);
        vm.warp(START + DELAY);
        vm.prank(authorizer);
        escrow.finalizeWithdraw(configOf(1));
        assertEq(token.balanceOf(payer), 1000);
        assertEq(token.balanceOf(authorizer), 0);
    }

    function test_finalizeWithdraw_closesAChannelThatIsEmptyAndUnclaimed() public {
        _initiate(DEPOSIT);
        vm.warp(START + DELAY);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.WithdrawFinalized(id, payer, DEPOSIT);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.ChannelClosed(id, configOf(1));
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        assertChannel(id, 0, 0);
    }

    function test_finalizeWithdraw_leavesWhatWasClaimedMeanwhile() public {
        _initiate(DEPOSIT);
        claimAsReceiver(configOf(1), 700);
        vm.warp(START + DELAY);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.WithdrawFinalized(id, payer, DEPOSIT - 700);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        assertChannel(id, 700, 700);
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 700);
        assertEq(token.balanceOf(address(escrow)), 0);
    }

    function test_finalizeWithdraw_succeedsWithNothingLeft() public {
        _initiate(DEPOSIT);
        claimAsReceiver(configOf(1), DEPOSIT);
        vm.warp(START + DELAY);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.WithdrawFinalized(id, payer, 0);
        vm.recordLogs();
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        assertEq(vm.getRecordedLogs().length, 1, "a transfer of nothing");
        assertPending(id, 0, 0);
        assertChannel(id, DEPOSIT, DEPOSIT);
    }

    function test_finalizeWithdraw_doesNotTakeALaterTopUp() public {
        _initiate(DEPOSIT);
        fund(configOf(1), 55);
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        assertChannel(id, 55, 0);
    }

    function test_finalizeWithdraw_letsAnotherBegin() public {
        _initiate(1);
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        _initiate(2);
        assertPending(id, 2, START + DELAY);
    }

    function test_finalizeWithdraw_reverts_whenSenderIsNotThePayerSide() public {
        _initiate(1000);
        vm.warp(START + DELAY);
        _expectFinalizeRevert(stranger, IChannelEscrow.NotAuthorizedToFinalizeWithdraw.selector);
        _expectFinalizeRevert(receiver, IChannelEscrow.NotAuthorizedToFinalizeWithdraw.selector);
    }

    function test_finalizeWithdraw_reverts_whenNoneIsPending() public {
        _expectFinalizeRevert(payer, IChannelEscrow.WithdrawalNotPending.selector);
        _initiate(1000);
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        _expectFinalizeRevert(payer, IChannelEscrow.WithdrawalNotPending.selector);
    }

    function test_finalizeWithdraw_reverts_untilTheDelayIsOver() public {
        _initiate(1000);
        _expectFinalizeRevert(payer, IChannelEscrow.WithdrawDelayNotElapsed.selector);
        vm.warp(START + DELAY - 1);
        _expectFinalizeRevert(payer, IChannelEscrow.WithdrawDelayNotElapsed.selector);
    }

    // --------------------------------------------------------------------------------- vouchers after a withdrawal

    function test_claim_afterAWithdrawalIsWorthTheBalance() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), DEPOSIT, DEPOSIT);
        _initiate(DEPOSIT - 400);
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));

        vm.prank(receiver);
        vm.expectRevert(IChannelEscrow.ClaimExceedsBalance.selector);
        escrow.claim(rowsOf(row));

        row.totalClaimed = 400;
        vm.prank(receiver);
        escrow.claim(rowsOf(row));
        assertChannel(id, 400, 400);
    }

    function test_claim_takesAnOldVoucherAfterRefundAndTopUp() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 500, 500);
        vm.prank(receiver);
        escrow.refund(configOf(1), DEPOSIT);
        fund(configOf(1), 500);
        vm.prank(receiver);
        escrow.claim(rows);
        assertChannel(id, 500, 500);
    }

    function testFuzz_withdraw_neverTouchesWhatWasClaimed(
        uint128 asked,
        uint128 claimedBefore,
        uint128 claimedAfter
    ) public {
        claimedBefore = uint128(bound(claimedBefore, 0, DEPOSIT - 1));
        asked = uint128(bound(asked, 1, DEPOSIT - claimedBefore));
        claimedAfter = uint128(bound(claimedAfter, claimedBefore, DEPOSIT));
        claimAsReceiver(configOf(1), claimedBefore);
        _initiate(asked);
        claimAsReceiver(configOf(1), claimedAfter);
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        uint128 unclaimed = DEPOSIT - claimedAfter;
        assertEq(token.balanceOf(payer), asked < unclaimed ? asked : unclaimed);
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), claimedAfter);
    }

    function _initiate(uint128 amount) private {
        vm.prank(payer);
        escrow.initiateWithdraw(configOf(1), amount);
    }

    function _expectInitiateRevert(address sender, uint128 amount, bytes4 selector) private {
        vm.prank(sender);
        vm.expectRevert(selector);
        escrow.initiateWithdraw(configOf(1), amount);
    }

    function _expectFinalizeRevert(address sender, bytes4 selector) private {
        vm.prank(sender);
        vm.expectRevert(selector);
        escrow.finalizeWithdraw(configOf(1));
    }
}
