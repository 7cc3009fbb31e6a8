// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {ChannelEscrow} from "../../src/ChannelEscrow.sol";
import {Erc3009Collector} from "../../src/Erc3009Collector.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {TestUsdc} from "../../src/TestUsdc.sol";
import {Handler} from "./Handler.sol";

/// @notice What holds after any history. contracts/README.md lists each of these with its number.
contract InvariantsTest is Test {
    ChannelEscrow private escrow;
    TestUsdc private token;
    Erc3009Collector private collector;
    Handler private handler;

    function setUp() public {
        vm.warp(1_800_000_000);
        escrow = new ChannelEscrow();
        collector = new Erc3009Collector(address(escrow));
        token = new TestUsdc();
        handler = new Handler(escrow, collector, token);
        targetContract(address(handler));
        bytes4[] memory actions = new bytes4[](11);
        actions[0] = handler.deposit.selector;
        actions[1] = handler.claim.selector;
        actions[2] = handler.claimBatch.selector;
        actions[3] = handler.settle.selector;
        actions[4] = handler.initiateWithdraw.selector;
        actions[5] = handler.finalizeWithdraw.selector;
        actions[6] = handler.refund.selector;
        actions[7] = handler.refundWithSignature.selector;
        actions[8] = handler.warp.selector;
        actions[9] = handler.replayByStranger.selector;
        actions[10] = handler.replayClaim.selector;
        targetSelector(FuzzSelector({addr: address(handler), selectors: actions}));
    }

    /// @dev One campaign for all of them: separate ones would only walk the same histories again.
    function invariant_escrow() public view {
        (IChannelEscrow.ChannelConfig[] memory configs, bytes32[] memory ids, Handler.Book[] memory books) =
            handler.channels();
        uint256 unclaimed;
        for (uint256 i = 0; i < ids.length; ++i) {
            unclaimed += _checkChannel(ids[i], books[i]);
        }
        _checkPayments(configs, books, unclaimed);
        assertEq(handler.replaysThatChangedSomething(), 0, "7: a replay changed something");
    }

    /// @dev 2 and 3: claims are bounded by the balance, by the deposits and by what the payer signed. 4: they are
    /// exactly the highest accepted row, hence they never fall. 5: the balance is what went in less what went back.
    function _checkChannel(bytes32 id, Handler.Book memory book) private view returns (uint256 unclaimed) {
        (uint128 balance, uint128 totalClaimed) = escrow.channels(id);
        assertLe(totalClaimed, balance, "2: claimed above balance");
        assertLe(totalClaimed, book.deposited, "2: claimed above deposits");
        assertLe(totalClaimed, book.highestSigned, "3: claimed above signed");
        assertEq(totalClaimed, book.claimed, "4: claimed something else than the highest row");
        assertEq(balance, book.deposited - book.returned, "5: balance");
        assertEq(escrow.refundNonce(id), book.refunds, "5: refund nonce");
        (uint128 pending, uint40 initiatedAt) = escrow.pendingWithdrawals(id);
        assertEq(pending == 0, initiatedAt == 0, "5: half a withdrawal");
        return balance - totalClaimed;
    }

    /// @dev 1: every token in the escrow is unclaimed in one channel or due to one receiver. 6: receivers and payers
    /// are paid exactly what the books say, and nobody else holds a token.
    function _checkPayments(
        IChannelEscrow.ChannelConfig[] memory configs,
        Handler.Book[] memory books,
        uint256 unclaimed
    ) private view {
        uint256 held = token.balanceOf(address(escrow));
        uint256 due;
        uint256 elsewhere;
        for (uint256 i = 0; i < handler.partyCount(); ++i) {
            address payer = handler.payers(i);
            address receiver = handler.receivers(i);
            uint256 owned = handler.minted(payer);
            uint256 claimed;
            for (uint256 j = 0; j < books.length; ++j) {
                if (configs[j].payer == payer) owned = owned + books[j].returned - books[j].deposited;
                if (configs[j].receiver == receiver) claimed += books[j].claimed;
            }
            (uint128 totalClaimed, uint128 totalSettled) = escrow.receivers(receiver, address(token));
            assertEq(totalClaimed, claimed, "6: receiver's claims");
            assertEq(token.balanceOf(receiver), totalSettled, "6: receiver's tokens");
            assertEq(token.balanceOf(payer), owned, "6: payer's tokens");
            due += totalClaimed - totalSettled;
            elsewhere += owned + totalSettled;
        }
        assertEq(held, unclaimed + due, "1: conservation");
        assertEq(held + elsewhere, token.totalSupply(), "6: somebody else holds tokens");
    }
}
