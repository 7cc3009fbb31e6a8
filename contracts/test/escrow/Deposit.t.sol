// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {TestUsdc} from "../../src/TestUsdc.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {AllowanceCollector} from "../mocks/Collectors.sol";
import {ContractWallet} from "../mocks/ContractWallet.sol";
import {FeeToken} from "../mocks/Tokens.sol";

contract DepositTest is EscrowBase {
    AllowanceCollector private byAllowance;

    function setUp() public override {
        super.setUp();
        byAllowance = new AllowanceCollector();
        vm.prank(payer);
        token.approve(address(byAllowance), type(uint256).max);
    }

    function test_deposit_opensTheChannel() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        bytes32 id = escrow.getChannelId(config);
        token.mint(payer, DEPOSIT);
        bytes memory collectorData = authorizationFor(config, DEPOSIT);

        vm.expectEmit(address(escrow));
        emit IChannelEscrow.ChannelCreated(id, config);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Deposited(id, relay, DEPOSIT, DEPOSIT);
        vm.prank(relay);
        escrow.deposit(config, DEPOSIT, address(collector), collectorData);

        assertChannel(id, DEPOSIT, 0);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
        assertEq(token.balanceOf(payer), 0);
        assertEq(token.balanceOf(address(collector)), 0);
    }

    function test_deposit_topsUpWithoutOpeningAgain() public {
        bytes32 id = fund(configOf(1), DEPOSIT);
        vm.recordLogs();
        fund(configOf(1), 5);
        assertFalse(_opened(vm.getRecordedLogs()));
        assertChannel(id, DEPOSIT + 5, 0);
    }

    function test_deposit_opensAgainAfterEverythingWentBackUnclaimed() public {
        bytes32 id = fund(configOf(1), DEPOSIT);
        vm.prank(receiver);
        escrow.refund(configOf(1), DEPOSIT);
        vm.recordLogs();
        fund(configOf(1), 7);
        assertTrue(_opened(vm.getRecordedLogs()));
        assertChannel(id, 7, 0);
    }

    function test_deposit_doesNotOpenAgainAfterAClaim() public {
        bytes32 id = fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), DEPOSIT);
        vm.recordLogs();
        fund(configOf(1), 7);
        assertFalse(_opened(vm.getRecordedLogs()));
        assertChannel(id, DEPOSIT + 7, DEPOSIT);
    }

    function test_deposit_doesNotDependOnItsSender() public {
        token.mint(payer, DEPOSIT);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        vm.prank(address(0));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), collectorData);
    }

    function test_deposit_takesAPayerWithCode() public {
        ContractWallet wallet = new ContractWallet(payer);
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.payer = address(wallet);
        bytes32 id = fund(config, DEPOSIT);
        assertChannel(id, DEPOSIT, 0);
    }

    function test_deposit_keepsChannelsApart() public {
        bytes32 first = fund(configOf(1), 10);
        bytes32 second = fund(configOf(2), 20);
        assertChannel(first, 10, 0);
        assertChannel(second, 20, 0);
    }

    function testFuzz_deposit_addsUp(uint128 first, uint128 second) public {
        first = uint128(bound(first, 1, type(uint128).max - 1));
        second = uint128(bound(second, 1, type(uint128).max - first));
        fund(configOf(1), first);
        bytes32 id = fund(configOf(1), second);
        assertChannel(id, first + second, 0);
        assertEq(token.balanceOf(address(escrow)), uint256(first) + second);
    }

    // ------------------------------------------------------------------------------------------------- the config

    function test_deposit_reverts_whenPayerIsZero() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.payer = address(0);
        _expectDepositRevert(config, 1, IChannelEscrow.InvalidChannel.selector);
    }

    function test_deposit_reverts_whenReceiverIsZero() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.receiver = address(0);
        _expectDepositRevert(config, 1, IChannelEscrow.InvalidChannel.selector);
    }

    function test_deposit_reverts_whenReceiverAuthorizerIsZero() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.receiverAuthorizer = address(0);
        _expectDepositRevert(config, 1, IChannelEscrow.InvalidChannel.selector);
    }

    function test_deposit_reverts_whenTokenIsZero() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.token = address(0);
        _expectDepositRevert(config, 1, IChannelEscrow.InvalidChannel.selector);
    }

    function testFuzz_deposit_acceptsOnlyDelaysInRange(uint40 delay) public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.withdrawDelay = delay;
        if (delay < 900 || delay > 2_592_000) {
            _expectDepositRevert(config, 1, IChannelEscrow.WithdrawDelayOutOfRange.selector);
        } else {
            fund(config, 1);
        }
    }

    function test_deposit_acceptsTheBoundsOfTheDelay() public {
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.withdrawDelay = 900;
        fund(config, 1);
        config.withdrawDelay = 2_592_000;
        fund(config, 1);
        config.withdrawDelay = 899;
        _expectDepositRevert(config, 1, IChannelEscrow.WithdrawDelayOutOfRange.selector);
        config.withdrawDelay = 2_592_001;
        _expectDepositRevert(config, 1, IChannelEscrow.WithdrawDelayOutOfRange.selector);
    }

    // ------------------------------------------------------------------------------------------------- the amount

    function test_deposit_reverts_whenAmountIsZero() public {
        _expectDepositRevert(configOf(1), 0, IChannelEscrow.ZeroDeposit.selector);
    }

    function test_deposit_reverts_whenBalanceWouldOverflow() public {
        fund(configOf(1), type(uint128).max);
        _expectDepositRevert(configOf(1), 1, IChannelEscrow.DepositOverflow.selector);
    }

    // ---------------------------------------------------------------------------------------------- the collector

    function test_deposit_reverts_whenCollectorIsZero() public {
        vm.expectRevert(IChannelEscrow.InvalidCollector.selector);
        escrow.deposit(configOf(1), 1, address(0), "");
    }

    function test_deposit_reverts_whenCollectorHasNoCode() public {
        vm.expectRevert(bytes(""));
        escrow.deposit(configOf(1), 1, stranger, "");
    }

    function test_deposit_reverts_whenCollectorIsTheEscrow() public {
        vm.expectRevert(bytes(""));
        escrow.deposit(configOf(1), 1, address(escrow), "");
    }

    function test_deposit_reverts_withTheErrorOfTheCollector() public {
        byAllowance.refuse();
        bytes32 id = escrow.getChannelId(configOf(1));
        vm.expectRevert(abi.encodeWithSelector(AllowanceCollector.Refused.selector, id));
        escrow.deposit(configOf(1), 1, address(byAllowance), "");
    }

    function test_deposit_reverts_whenNothingArrives() public {
        _expectCollectionFailure(-100);
    }

    function test_deposit_reverts_whenTooLittleArrives() public {
        _expectCollectionFailure(-1);
    }

    function test_deposit_reverts_whenTooMuchArrives() public {
        _expectCollectionFailure(1);
    }

    function test_deposit_reverts_whenTheTokenTakesAFee() public {
        FeeToken feeToken = new FeeToken();
        feeToken.mint(payer, 100);
        IChannelEscrow.ChannelConfig memory config = configOf(1);
        config.token = address(feeToken);
        vm.expectRevert(IChannelEscrow.DepositCollectionFailed.selector);
        escrow.deposit(config, 100, address(byAllowance), "");
    }

    function test_deposit_reverts_whenReplayed() public {
        token.mint(payer, 2 * DEPOSIT);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT, 1);
        bytes32 nonce = keccak256(abi.encode(escrow.getChannelId(configOf(1)), uint256(1)));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), collectorData);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationAlreadyUsed.selector, payer, nonce));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), collectorData);
    }

    function test_deposit_reverts_whenTheAuthorizationNamesAnotherChannel() public {
        token.mint(payer, DEPOSIT);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        escrow.deposit(configOf(2), DEPOSIT, address(collector), collectorData);
    }

    function test_deposit_reverts_whenTheAuthorizationNamesAnotherAmount() public {
        token.mint(payer, DEPOSIT);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        escrow.deposit(configOf(1), DEPOSIT - 1, address(collector), collectorData);
    }

    function _expectCollectionFailure(int256 deviation) private {
        token.mint(payer, 1000);
        byAllowance.deviateBy(deviation);
        vm.expectRevert(IChannelEscrow.DepositCollectionFailed.selector);
        escrow.deposit(configOf(1), 100, address(byAllowance), "");
        assertChannel(escrow.getChannelId(configOf(1)), 0, 0);
    }

    function _expectDepositRevert(IChannelEscrow.ChannelConfig memory config, uint128 amount, bytes4 selector)
        private
    {
        vm.expectRevert(selector);
        escrow.deposit(config, amount, address(byAllowance), "");
    }

    function _opened(Vm.Log[] memory logs) private pure returns (bool) {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IChannelEscrow.ChannelCreated.selector) return true;
        }
        return false;
    }
}
