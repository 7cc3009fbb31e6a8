// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "../src/interfaces/IChannelEscrow.sol";
import {EscrowBase} from "./base/EscrowBase.sol";

/// @notice What a whole transaction costs, calldata and refunds included: every call runs as its own transaction.
/// @dev The figures are kept in contracts/snapshots/GasTest.json, which forge compares on every run; the assertions
/// are the promises that no change may break.
/// forge-config: default.isolate = true
contract GasTest is EscrowBase {
    uint256 private constant BATCH = 45;

    function test_deposit_veryFirstTokenInTheEscrow() public {
        assertLe(_deposit(configOf(1), "deposit, very first token in the escrow"), 138_000);
    }

    function test_deposit_firstOfAChannel() public {
        fund(configOf(1), DEPOSIT);
        assertLe(_deposit(configOf(2), "deposit, first of a channel"), 120_000);
    }

    function test_deposit_topUp() public {
        fund(configOf(1), DEPOSIT);
        assertLe(_deposit(configOf(1), "deposit, top-up"), 100_000);
    }

    function test_claim_single() public {
        fund(configOf(1), DEPOSIT);
        fund(configOf(2), DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 2000, 1000);
        vm.prank(receiver);
        escrow.claim(rows);
        vm.snapshotGasLastCall("claim 1, receiver's first");

        rows = rowsOf(configOf(2), 2000, 1000);
        vm.prank(receiver);
        escrow.claim(rows);
        assertLe(vm.snapshotGasLastCall("claim 1, receiver's slot set"), 48_000);

        vm.prank(receiver);
        escrow.claim(rows);
        vm.snapshotGasLastCall("claim 1, outdated");

        rows = rowsOf(configOf(2), 3000, 3000);
        bytes memory signature = signBatch(rows);
        vm.prank(relay);
        escrow.claimWithSignature(rows, signature);
        vm.snapshotGasLastCall("claimWithSignature 1, receiver's slot set");
    }

    function test_claim_batch() public {
        IChannelEscrow.VoucherClaim[] memory rows = _batch();
        vm.prank(receiver);
        escrow.claim(rows);
        assertLe(vm.snapshotGasLastCall("claim 45") / BATCH, 22_000);
    }

    function test_claimWithSignature_batch() public {
        IChannelEscrow.VoucherClaim[] memory rows = _batch();
        bytes memory signature = signBatch(rows);
        vm.prank(relay);
        escrow.claimWithSignature(rows, signature);
        assertLe(vm.snapshotGasLastCall("claimWithSignature 45") / BATCH, 24_000);
    }

    function test_settle() public {
        fund(configOf(1), DEPOSIT);
        claimAsReceiver(configOf(1), 1000);
        vm.prank(relay);
        escrow.settle(receiver, address(token));
        vm.snapshotGasLastCall("settle, receiver has no tokens");

        claimAsReceiver(configOf(1), 2000);
        vm.prank(relay);
        escrow.settle(receiver, address(token));
        assertLe(vm.snapshotGasLastCall("settle, receiver has tokens"), 46_000);

        vm.prank(relay);
        escrow.settle(receiver, address(token));
        vm.snapshotGasLastCall("settle, nothing due");
    }

    function test_refund() public {
        fund(configOf(1), DEPOSIT);
        token.mint(payer, 1);
        vm.prank(receiver);
        escrow.refund(configOf(1), 1000);
        vm.snapshotGasLastCall("refund, first");
        bytes memory signature = signRefund(escrow.getChannelId(configOf(1)), 1, 1000);
        vm.prank(relay);
        escrow.refundWithSignature(configOf(1), 1000, 1, signature);
        vm.snapshotGasLastCall("refundWithSignature, second");
    }

    function test_withdraw() public {
        fund(configOf(1), DEPOSIT);
        token.mint(payer, 1);
        vm.prank(payer);
        escrow.initiateWithdraw(configOf(1), 1000);
        vm.snapshotGasLastCall("initiateWithdraw");
        vm.warp(START + DELAY);
        vm.prank(payer);
        escrow.finalizeWithdraw(configOf(1));
        vm.snapshotGasLastCall("finalizeWithdraw");
    }

    function _deposit(IChannelEscrow.ChannelConfig memory config, string memory name)
        private
        returns (uint256)
    {
        token.mint(payer, 2 * DEPOSIT);
        bytes memory collectorData = authorizationFor(config, DEPOSIT);
        vm.prank(relay);
        escrow.deposit(config, DEPOSIT, address(collector), collectorData);
        return vm.snapshotGasLastCall(name);
    }

    /// @dev The receiver has claimed before, as any receiver that claims batches has.
    function _batch() private returns (IChannelEscrow.VoucherClaim[] memory rows) {
        fund(configOf(0), DEPOSIT);
        claimAsReceiver(configOf(0), 1);
        rows = new IChannelEscrow.VoucherClaim[](BATCH);
        for (uint256 i = 0; i < BATCH; ++i) {
            IChannelEscrow.ChannelConfig memory config = configOf(uint256(keccak256(abi.encode("salt", i))));
            fund(config, DEPOSIT);
            rows[i] = rowOf(config, 2_000_000, 1_234_567);
        }
    }
}
