// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {Transfers} from "../../src/libraries/Transfers.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {AllowanceCollector} from "../mocks/Collectors.sol";
import {BareToken, BlockingToken, RefusingToken, ShortToken, SilentToken} from "../mocks/Tokens.sol";

contract SettleTest is EscrowBase {
    function test_settle_paysTheReceiverWhateverTheSender() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 700);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Settled(receiver, address(token), relay, 700);
        vm.prank(relay);
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 700);
        assertEq(token.balanceOf(relay), 0);
        assertReceiver(receiver, 700, 700);
    }

    function test_settle_sweepsAllChannelsOfAReceiver() public {
        fund(configOf(1), DEPOSIT);
        fund(configOf(2), DEPOSIT);
        claimAsReceiver(configOf(1), 100);
        claimAsReceiver(configOf(2), 20);
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 120);
    }

    function test_settle_paysOnlyWhatIsNew() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 100);
        escrow.settle(receiver, address(token));
        claimAsReceiver(configOf(1), 130);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Settled(receiver, address(token), address(this), 30);
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 130);
    }

    function test_settle_doesNothingWhenNothingIsDue() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 100);
        escrow.settle(receiver, address(token));
        vm.recordLogs();
        escrow.settle(receiver, address(token));
        escrow.settle(stranger, address(token));
        escrow.settle(receiver, stranger);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(token.balanceOf(receiver), 100);
    }

    function test_settle_doesNotDependOnItsSender() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 100);
        vm.prank(address(0));
        escrow.settle(receiver, address(token));
        assertEq(token.balanceOf(receiver), 100);
    }

    function test_settle_fitsTheGasLimitThatStockCodeSends() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 100);
        escrow.settle{gas: 120_000 - 21_800}(receiver, address(token));
        assertEq(token.balanceOf(receiver), 100);
    }

    function test_settle_believesATokenThatAnswersNothing() public {
        SilentToken silent = new SilentToken();
        _claimIn(silent, 100);
        escrow.settle(receiver, address(silent));
        assertEq(silent.balanceOf(receiver), 100);
    }

    function test_settle_reverts_whenTheTokenAnswersFalse() public {
        _expectFailedOperation(new RefusingToken(0));
    }

    function test_settle_reverts_whenTheTokenAnswersNeitherTrueNorFalse() public {
        _expectFailedOperation(new RefusingToken(2));
    }

    /// @dev The address ends in the one byte that such an answer leaves as it was, where it would read as true.
    function test_settle_reverts_whenTheTokenAnswersLessThanAWord() public {
        ShortToken short = ShortToken(0xFFfffFFfFFfffFfFffFFfFfFfFffFfffFFFFFf01);
        vm.etch(address(short), address(new ShortToken()).code);
        _expectFailedOperation(short);
    }

    function test_settle_reverts_whenTheTokenIsGone() public {
        SilentToken silent = new SilentToken();
        _claimIn(silent, 100);
        vm.etch(address(silent), "");
        vm.expectRevert(abi.encodeWithSelector(Transfers.SafeERC20FailedOperation.selector, address(silent)));
        escrow.settle(receiver, address(silent));
    }

    function test_settle_reverts_withTheErrorOfTheTokenAndBlocksNobodyElse() public {
        BlockingToken blocking = new BlockingToken();
        _claimIn(blocking, 100);
        blocking.blockAccount(receiver);
        vm.expectRevert(abi.encodeWithSelector(BlockingToken.Blocked.selector, receiver));
        escrow.settle(receiver, address(blocking));

        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.token = address(blocking);
        vm.prank(receiver);
        escrow.refund(config, DEPOSIT);
        assertEq(blocking.balanceOf(payer), DEPOSIT - 100);

        blocking.blockAccount(address(0));
        escrow.settle(receiver, address(blocking));
        assertEq(blocking.balanceOf(receiver), 100);
    }

    function _expectFailedOperation(BareToken bare) private {
        _claimIn(bare, 100);
        vm.expectRevert(abi.encodeWithSelector(Transfers.SafeERC20FailedOperation.selector, address(bare)));
        escrow.settle(receiver, address(bare));
        (, uint128 settled) = escrow.receivers(receiver, address(bare));
        assertEq(settled, 0);
    }

    function _claimIn(BareToken bare, uint128 amount) private {
        bare.mint(payer, DEPOSIT);
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.token = address(bare);
        escrow.deposit(config, DEPOSIT, address(new AllowanceCollector()), "");
        claimAsReceiver(config, amount);
    }
}
