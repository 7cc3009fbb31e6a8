// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Erc3009Collector} from "../src/Erc3009Collector.sol";
import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {TestUsdc} from "../src/TestUsdc.sol";
import {EscrowBase} from "./base/EscrowBase.sol";

contract Erc3009CollectorTest is EscrowBase {
    function test_constructor_namesItsEscrow() public view {
        assertEq(collector.x402BatchSettlement(), address(escrow));
    }

    function test_constructor_reverts_whenEscrowIsZero() public {
        vm.expectRevert(Erc3009Collector.InvalidX402BatchSettlementAddress.selector);
        new Erc3009Collector(address(0));
    }

    function test_interface_hasThePublishedSelectors() public pure {
        assertEq(IDepositCollector.collect.selector, bytes4(0xe416d8d3));
        assertEq(Erc3009Collector.x402BatchSettlement.selector, bytes4(0x4dec6d95));
        assertEq(Erc3009Collector.OnlyX402BatchSettlement.selector, bytes4(0x9794beb9));
        assertEq(Erc3009Collector.InvalidX402BatchSettlementAddress.selector, bytes4(0xe55654f5));
    }

    function test_collect_reverts_whenSenderIsNotTheEscrow() public {
        token.mint(payer, DEPOSIT);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        bytes32 id = escrow.getChannelId(configOf(1));
        vm.expectRevert(Erc3009Collector.OnlyX402BatchSettlement.selector);
        collector.collect(payer, address(token), DEPOSIT, id, collectorData);
    }

    function test_collect_movesExactlyWhatWasSigned() public {
        token.mint(payer, DEPOSIT + 1);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        bytes32 id = escrow.getChannelId(configOf(1));
        vm.prank(address(escrow));
        collector.collect(payer, address(token), DEPOSIT, id, collectorData);
        assertEq(token.balanceOf(payer), 1);
        assertEq(token.balanceOf(address(collector)), 0);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
    }

    function test_collect_worksWhereItsCodeIsPlaced() public {
        Erc3009Collector elsewhere = Erc3009Collector(makeAddr("elsewhere"));
        vm.etch(address(elsewhere), address(collector).code);
        assertEq(elsewhere.x402BatchSettlement(), address(escrow));
    }

    function test_collect_reverts_outsideTheSignedTime() public {
        token.mint(payer, DEPOSIT);
        (,, uint256 salt, bytes memory signature) =
            abi.decode(authorizationFor(configOf(1), DEPOSIT), (uint256, uint256, uint256, bytes));
        bytes memory late = abi.encode(uint256(0), START, salt, signature);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationExpired.selector, START));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), late);
        bytes memory early = abi.encode(START, type(uint256).max, salt, signature);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationNotYetValid.selector, START));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), early);
    }

    function test_collect_reverts_whenTheDataIsMalformed() public {
        vm.expectRevert(bytes(""));
        escrow.deposit(configOf(1), DEPOSIT, address(collector), hex"00");
    }

    function test_collect_reverts_whenThePayerHasTooLittle() public {
        token.mint(payer, DEPOSIT - 1);
        bytes memory collectorData = authorizationFor(configOf(1), DEPOSIT);
        vm.expectRevert(
            abi.encodeWithSelector(TestUsdc.InsufficientBalance.selector, payer, DEPOSIT - 1, DEPOSIT)
        );
        escrow.deposit(configOf(1), DEPOSIT, address(collector), collectorData);
    }
}
