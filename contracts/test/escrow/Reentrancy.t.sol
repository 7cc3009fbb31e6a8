// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {AllowanceCollector, ReentrantCollector} from "../mocks/Collectors.sol";
import {ReentrantToken} from "../mocks/Tokens.sol";

/// @notice The two kinds of foreign code that the escrow calls try to come back into it, by every way in.
/// @dev The attacker is made the receiver and the payer's authorizer where that is what the entry asks for, so that
/// only the guard stands in the way.
contract ReentrancyTest is EscrowBase {
    ReentrantCollector private hostileCollector;
    ReentrantToken private hostileToken;

    function setUp() public override {
        super.setUp();
        hostileCollector = new ReentrantCollector();
        hostileToken = new ReentrantToken();
        hostileToken.mint(payer, 10 * uint256(DEPOSIT));
        token.mint(payer, 10 * uint256(DEPOSIT));
        vm.prank(payer);
        token.approve(address(hostileCollector), type(uint256).max);
    }

    function test_collector_cannotDeposit() public {
        _expectCollectorBlocked(
            abi.encodeCall(escrow.deposit, (_ownConfig(address(token)), 1, address(hostileCollector), ""))
        );
    }

    function test_collector_cannotClaim() public {
        _expectCollectorBlocked(abi.encodeCall(escrow.claim, (rowsOf(_ownConfig(address(token)), 1, 1))));
    }

    function test_collector_cannotClaimWithSignature() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 1, 1);
        _expectCollectorBlocked(abi.encodeCall(escrow.claimWithSignature, (rows, signBatch(rows))));
    }

    function test_collector_cannotSettle() public {
        _expectCollectorBlocked(abi.encodeCall(escrow.settle, (receiver, address(token))));
    }

    function test_collector_cannotInitiateWithdraw() public {
        _expectCollectorBlocked(abi.encodeCall(escrow.initiateWithdraw, (_ownConfig(address(token)), 1)));
    }

    function test_collector_cannotFinalizeWithdraw() public {
        _expectCollectorBlocked(abi.encodeCall(escrow.finalizeWithdraw, (_ownConfig(address(token)))));
    }

    function test_collector_cannotRefund() public {
        _expectCollectorBlocked(abi.encodeCall(escrow.refund, (_ownConfig(address(token)), 1)));
    }

    function test_collector_cannotRefundWithSignature() public {
        bytes memory signature = signRefund(escrow.getChannelId(configOf(1)), 0, 1);
        _expectCollectorBlocked(abi.encodeCall(escrow.refundWithSignature, (configOf(1), 1, 0, signature)));
    }

    function test_collector_cannotHideInAMulticall() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(escrow.settle, (receiver, address(token)));
        _expectCollectorBlocked(abi.encodeCall(escrow.multicall, (calls)));
    }

    function test_token_cannotReenterWhileAReceiverIsPaid() public {
        _fundHostile();
        claimAsReceiver(_hostileConfig(), 100);
        hostileToken.attackWith(abi.encodeCall(escrow.settle, (receiver, address(hostileToken))));
        escrow.settle(receiver, address(hostileToken));
        _assertTokenBlocked();
        assertEq(hostileToken.balanceOf(receiver), 100);
    }

    function test_token_cannotReenterWhileARefundIsPaid() public {
        bytes32 id = _fundHostile();
        hostileToken.attackWith(
            abi.encodeCall(escrow.refundWithSignature, (_hostileConfig(), 100, 1, signRefund(id, 1, 100)))
        );
        vm.prank(receiver);
        escrow.refund(_hostileConfig(), 100);
        _assertTokenBlocked();
        assertChannel(id, DEPOSIT - 100, 0);
    }

    function test_token_cannotReenterWhileAWithdrawalIsPaid() public {
        _fundHostile();
        vm.prank(payer);
        escrow.initiateWithdraw(_hostileConfig(), 100);
        vm.warp(START + DELAY);
        hostileToken.attackWith(abi.encodeCall(escrow.finalizeWithdraw, (_hostileConfig())));
        vm.prank(payer);
        escrow.finalizeWithdraw(_hostileConfig());
        _assertTokenBlocked();
    }

    function test_guard_opensAgainInTheSameTransaction() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrow.settle, (receiver, address(token)));
        calls[1] = abi.encodeCall(escrow.deposit, (configOf(1), 1, address(hostileCollector), ""));
        escrow.multicall(calls);
        escrow.settle(receiver, address(token));
    }

    /// @dev A deposit counted twice is how a collector would drain an escrow without a guard.
    function test_collector_cannotHaveOneTransferCountedTwice() public {
        fund(configOf(7), DEPOSIT);
        ReentrantCollector inner = new ReentrantCollector();
        hostileCollector.attackWith(
            abi.encodeCall(escrow.deposit, (_ownConfig(address(token)), DEPOSIT, address(inner), ""))
        );
        escrow.deposit(configOf(1), DEPOSIT, address(hostileCollector), "");
        assertEq(token.balanceOf(address(escrow)), 2 * DEPOSIT);
        assertChannel(escrow.getChannelId(_ownConfig(address(token))), 0, 0);
    }

    function _ownConfig(address asset) private view returns (IChannelEscrow.ChannelConfig memory config) {
        config = configOf(2);
        config.token = asset;
        config.payerAuthorizer = address(hostileCollector);
        config.receiver = address(hostileCollector);
    }

    function _hostileConfig() private view returns (IChannelEscrow.ChannelConfig memory config) {
        config = configOf(3);
        config.token = address(hostileToken);
    }

    function _fundHostile() private returns (bytes32) {
        escrow.deposit(_hostileConfig(), DEPOSIT, address(new AllowanceCollector()), "");
        return escrow.getChannelId(_hostileConfig());
    }

    function _expectCollectorBlocked(bytes memory attack) private {
        hostileCollector.attackWith(attack);
        escrow.deposit(configOf(1), DEPOSIT, address(hostileCollector), "");
        assertFalse(hostileCollector.attackSucceeded());
        assertEq(
            hostileCollector.attackResult(),
            abi.encodeWithSelector(IChannelEscrow.ReentrancyGuardReentrantCall.selector)
        );
        assertChannel(escrow.getChannelId(configOf(1)), DEPOSIT, 0);
    }

    function _assertTokenBlocked() private view {
        assertFalse(hostileToken.attackSucceeded());
        assertEq(
            hostileToken.attackResult(),
            abi.encodeWithSelector(IChannelEscrow.ReentrancyGuardReentrantCall.selector)
        );
    }
}
