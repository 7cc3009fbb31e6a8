// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";
import {EscrowBase} from "../base/EscrowBase.sol";

contract MulticallTest is EscrowBase {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = fund(configOf(1), DEPOSIT);
    }

    function test_multicall_claimsAndRefundsInOneTransaction() public {
        bytes[] memory calls = _claimAndRefund();
        vm.prank(address(0));
        bytes[] memory results = escrow.multicall(calls);
        assertEq(results.length, 2);
        assertEq(results[0].length, 0);
        assertEq(results[1].length, 0);
        assertChannel(id, 700, 700);
        assertEq(token.balanceOf(payer), DEPOSIT - 700);
    }

    function test_multicall_returnsWhatEachCallReturned() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrow.channels, (id));
        calls[1] = abi.encodeCall(escrow.getChannelId, (configOf(1)));
        bytes[] memory results = escrow.multicall(calls);
        assertEq(results[0], abi.encode(DEPOSIT, uint128(0)));
        assertEq(results[1], abi.encode(id));
    }

    function test_multicall_keepsItsSender() public {
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrow.claim, (rowsOf(configOf(1), 10, 10)));
        calls[1] = abi.encodeCall(escrow.refund, (configOf(1), 5));
        vm.prank(receiver);
        escrow.multicall(calls);
        assertChannel(id, DEPOSIT - 5, 10);
        vm.prank(stranger);
        vm.expectRevert(IChannelEscrow.NotAuthorizedToClaim.selector);
        escrow.multicall(calls);
    }

    function test_multicall_takesNothingAndMulticalls() public {
        assertEq(escrow.multicall(new bytes[](0)).length, 0);
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(escrow.multicall, (_claimAndRefund()));
        escrow.multicall(calls);
        assertChannel(id, 700, 700);
    }

    function test_multicall_undoesAllWhenOneFails_withItsError() public {
        bytes[] memory calls = _claimAndRefund();
        calls[1] = abi.encodeCall(escrow.refundWithSignature, (configOf(1), 1, 7, ""));
        vm.expectRevert(IChannelEscrow.InvalidRefundNonce.selector);
        escrow.multicall(calls);
        assertChannel(id, DEPOSIT, 0);
    }

    function test_multicall_keepsTheArgumentsOfAnError() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = hex"0102";
        bytes[] memory calls = new bytes[](1);
        calls[0] = abi.encodeCall(escrow.claim, (rowsOf(row)));
        vm.prank(receiver);
        vm.expectRevert(abi.encodeWithSelector(Signatures.ECDSAInvalidSignatureLength.selector, uint256(2)));
        escrow.multicall(calls);
    }

    function test_multicall_reverts_onAnUnknownCall() public {
        bytes[] memory calls = new bytes[](1);
        calls[0] = hex"deadbeef";
        vm.expectRevert(bytes(""));
        escrow.multicall(calls);
    }

    function test_multicall_takesSeveralDepositsAndSettlements() public {
        token.mint(payer, 30);
        bytes[] memory calls = new bytes[](4);
        calls[0] = _depositCall(configOf(2), 10);
        calls[1] = _depositCall(configOf(3), 20);
        calls[2] = abi.encodeCall(escrow.settle, (receiver, address(token)));
        calls[3] = abi.encodeCall(escrow.settle, (receiver, address(token)));
        escrow.multicall(calls);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT + 30);
    }

    function _depositCall(IChannelEscrow.ChannelConfig memory config, uint128 amount)
        private
        returns (bytes memory)
    {
        bytes memory collectorData = authorizationFor(config, amount);
        return abi.encodeCall(escrow.deposit, (config, amount, address(collector), collectorData));
    }

    function _claimAndRefund() private view returns (bytes[] memory calls) {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 1000, 700);
        calls = new bytes[](2);
        calls[0] = abi.encodeCall(escrow.claimWithSignature, (rows, signBatch(rows)));
        calls[1] =
            abi.encodeCall(escrow.refundWithSignature, (configOf(1), DEPOSIT, 0, signRefund(id, 0, DEPOSIT)));
    }
}
