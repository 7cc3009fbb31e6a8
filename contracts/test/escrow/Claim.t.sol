// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ChannelEscrow} from "../../src/ChannelEscrow.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";
import {EscrowBase} from "../base/EscrowBase.sol";
import {ContractWallet} from "../mocks/ContractWallet.sol";

contract ClaimTest is EscrowBase {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = fund(configOf(1), DEPOSIT);
    }

    function test_claim_recordsWhatIsDue() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 1000, 700);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Claimed(id, receiver, 700, 700);
        vm.prank(receiver);
        escrow.claim(rows);
        assertChannel(id, DEPOSIT, 700);
        assertReceiver(receiver, 700, 0);
        assertEq(token.balanceOf(address(escrow)), DEPOSIT);
    }

    function test_claim_addsTheDifference() public {
        claimAsReceiver(configOf(1), 700);
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 1000, 1000);
        vm.expectEmit(address(escrow));
        emit IChannelEscrow.Claimed(id, receiverAuthorizer, 300, 1000);
        vm.prank(receiverAuthorizer);
        escrow.claim(rows);
        assertChannel(id, DEPOSIT, 1000);
        assertReceiver(receiver, 1000, 0);
    }

    function test_claim_takesManyChannels() public {
        bytes32 second = fund(configOf(2), DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 10, 10);
        rows[1] = rowOf(configOf(2), 20, 15);
        vm.prank(receiver);
        escrow.claim(rows);
        assertChannel(id, DEPOSIT, 10);
        assertChannel(second, DEPOSIT, 15);
        assertReceiver(receiver, 25, 0);
    }

    function test_claim_takesTwoRowsOfOneChannel() public {
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 20, 20);
        rows[1] = rowOf(configOf(1), 10, 10);
        vm.prank(receiver);
        escrow.claim(rows);
        assertChannel(id, DEPOSIT, 20);
        assertReceiver(receiver, 20, 0);
    }

    function test_claim_takesTheWholeBalance() public {
        claimAsReceiver(configOf(1), DEPOSIT);
        assertChannel(id, DEPOSIT, DEPOSIT);
    }

    function testFuzz_claim_neverPaysMoreThanCeilingOrBalance(uint128 ceiling, uint128 totalClaimed) public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), ceiling, totalClaimed);
        if (totalClaimed > ceiling) vm.expectRevert(IChannelEscrow.ClaimExceedsCeiling.selector);
        else if (totalClaimed > DEPOSIT) vm.expectRevert(IChannelEscrow.ClaimExceedsBalance.selector);
        vm.prank(receiver);
        escrow.claim(rows);
        (, uint128 claimed) = escrow.channels(id);
        assertTrue(claimed == 0 || (claimed == totalClaimed && claimed <= ceiling && claimed <= DEPOSIT));
    }

    // ------------------------------------------------------------------------------------------- outdated rows

    function test_claim_ignoresARowThatWasClaimedBefore() public {
        claimAsReceiver(configOf(1), 700);
        vm.recordLogs();
        claimAsReceiver(configOf(1), 700);
        claimAsReceiver(configOf(1), 699);
        assertEq(vm.getRecordedLogs().length, 0);
        assertChannel(id, DEPOSIT, 700);
        assertReceiver(receiver, 700, 0);
    }

    function test_claim_ignoresAnOutdatedRowWhateverElseIsWrongWithIt() public {
        claimAsReceiver(configOf(1), 700);
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 1, 700);
        row.signature = "not a signature";
        vm.prank(receiver);
        escrow.claim(rowsOf(row));
        assertChannel(id, DEPOSIT, 700);
    }

    function test_claim_ignoresAZeroRowOfAChannelThatNeverWas() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(9), 0, 0);
        row.signature = "";
        vm.prank(receiver);
        escrow.claim(rowsOf(row));
    }

    function test_claim_reverts_whenAStrangerSendsAnOutdatedRow() public {
        claimAsReceiver(configOf(1), 700);
        _expectRevertBy(stranger, rowsOf(configOf(1), 700, 700), IChannelEscrow.NotAuthorizedToClaim.selector);
    }

    // ------------------------------------------------------------------------------------------------- refusals

    function test_claim_reverts_whenEmpty() public {
        _expectRevertBy(receiver, new IChannelEscrow.VoucherClaim[](0), IChannelEscrow.EmptyBatch.selector);
    }

    function test_claim_reverts_whenSenderIsNotTheReceiverSide() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 10, 10);
        _expectRevertBy(stranger, rows, IChannelEscrow.NotAuthorizedToClaim.selector);
        _expectRevertBy(payer, rows, IChannelEscrow.NotAuthorizedToClaim.selector);
        _expectRevertBy(authorizer, rows, IChannelEscrow.NotAuthorizedToClaim.selector);
    }

    function test_claim_reverts_whenOneRowIsAnothersChannel() public {
        IChannelEscrow.ChannelConfig memory other = configOf(2);
        other.receiver = stranger;
        other.receiverAuthorizer = stranger;
        fund(other, DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 10, 10);
        rows[1] = rowOf(other, 10, 10);
        _expectRevertBy(receiver, rows, IChannelEscrow.NotAuthorizedToClaim.selector);
        assertChannel(id, DEPOSIT, 0);
    }

    function test_claim_reverts_whenAboveTheCeiling() public {
        _expectRevertBy(
            receiver, rowsOf(configOf(1), 1000, 1001), IChannelEscrow.ClaimExceedsCeiling.selector
        );
    }

    function test_claim_reverts_whenAboveTheBalance() public {
        _expectRevertBy(
            receiver,
            rowsOf(configOf(1), DEPOSIT + 1, DEPOSIT + 1),
            IChannelEscrow.ClaimExceedsBalance.selector
        );
    }

    function test_claim_reportsCeilingBeforeBalanceBeforeSignature() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), DEPOSIT + 1, DEPOSIT + 2);
        row.signature = "";
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.ClaimExceedsCeiling.selector);
        row.totalClaimed = DEPOSIT + 1;
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.ClaimExceedsBalance.selector);
        row.totalClaimed = DEPOSIT;
        vm.prank(receiver);
        vm.expectRevert(abi.encodeWithSelector(Signatures.ECDSAInvalidSignatureLength.selector, 0));
        escrow.claim(rowsOf(row));
    }

    function test_claim_oneBadRowUndoesAll() public {
        fund(configOf(2), DEPOSIT);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](2);
        rows[0] = rowOf(configOf(1), 10, 10);
        rows[1] = rowOf(configOf(2), 10, 11);
        _expectRevertBy(receiver, rows, IChannelEscrow.ClaimExceedsCeiling.selector);
        assertChannel(id, DEPOSIT, 0);
        assertReceiver(receiver, 0, 0);
    }

    // ----------------------------------------------------------------------------------------------- signatures

    function test_claim_reverts_whenSignedByAnother() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = sign(payerKey, escrow.getVoucherDigest(id, 10));
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claim_reverts_whenTheCeilingWasRaised() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.voucher.maxClaimableAmount = 11;
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claim_reverts_whenTheVoucherIsOfAnotherChannel() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(2), 10, 10);
        row.voucher.channel = configOf(1);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claim_reverts_whenTheVoucherIsOfAnotherChain() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        vm.chainId(block.chainid + 1);
        // The channel of this config on the other chain is another one, and empty.
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.ClaimExceedsBalance.selector);
        fund(configOf(1), DEPOSIT);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claim_reverts_whenTheVoucherIsOfAnotherEscrow() public {
        ChannelEscrow other = new ChannelEscrow();
        bytes32 otherId = other.getChannelId(configOf(1));
        assertNotEq(otherId, id);
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = sign(authorizerKey, other.getVoucherDigest(otherId, 10));
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        row.signature = sign(authorizerKey, other.getVoucherDigest(id, 10));
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
    }

    function test_claim_reverts_whenTheSignatureIsMirrored() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = mirrored(row.signature);
        (, bytes32 s,) = parts(row.signature);
        vm.prank(receiver);
        vm.expectRevert(abi.encodeWithSelector(Signatures.ECDSAInvalidSignatureS.selector, s));
        escrow.claim(rowsOf(row));
    }

    function testFuzz_claim_reverts_whenTheSignatureHasAnotherLength(uint8 length) public {
        vm.assume(length != 65);
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = new bytes(length);
        vm.prank(receiver);
        vm.expectRevert(
            abi.encodeWithSelector(Signatures.ECDSAInvalidSignatureLength.selector, uint256(length))
        );
        escrow.claim(rowsOf(row));
    }

    function testFuzz_claim_reverts_whenVIsNeither27Nor28(uint8 v) public {
        vm.assume(v != 27 && v != 28);
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        (bytes32 r, bytes32 s,) = parts(row.signature);
        row.signature = abi.encodePacked(r, s, v);
        _expectRevertBy(receiver, rowsOf(row), Signatures.ECDSAInvalidSignature.selector);
    }

    function test_claim_reverts_whenTheSignatureIsZero() public {
        IChannelEscrow.VoucherClaim memory row = rowOf(configOf(1), 10, 10);
        row.signature = abi.encodePacked(bytes32(0), bytes32(0), uint8(27));
        _expectRevertBy(receiver, rowsOf(row), Signatures.ECDSAInvalidSignature.selector);
    }

    function test_claim_takesAnAuthorizerKeyEvenWhenTheAccountHasCode() public {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(configOf(1), 10, 10);
        vm.etch(authorizer, hex"fe");
        vm.prank(receiver);
        escrow.claim(rows);
        assertChannel(id, DEPOSIT, 10);
    }

    // ------------------------------------------------------------------------------------ without an authorizer

    function test_claim_asksAPayerWithCodeWhenThereIsNoAuthorizer() public {
        (bytes32 walletId, ContractWallet wallet, IChannelEscrow.VoucherClaim memory row) = _walletChannel();
        wallet.become(ContractWallet.Mood.Reverts);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        wallet.become(ContractWallet.Mood.RevertsWithYes);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        wallet.become(ContractWallet.Mood.AnswersShort);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        wallet.become(ContractWallet.Mood.AnswersOther);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        wallet.become(ContractWallet.Mood.Honest);
        vm.prank(receiver);
        escrow.claim(rowsOf(row));
        assertChannel(walletId, DEPOSIT, 10);
    }

    function test_claim_takesThePayersOwnKeyWhenThereIsNoAuthorizer() public {
        IChannelEscrow.ChannelConfig memory config = configOf(3);
        config.payerAuthorizer = address(0);
        bytes32 plainId = fund(config, DEPOSIT);
        IChannelEscrow.VoucherClaim memory row = rowOf(config, 10, 10);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        bytes memory valid = sign(payerKey, escrow.getVoucherDigest(plainId, 10));
        row.signature = mirrored(valid);
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        row.signature = abi.encodePacked(valid, uint8(0));
        _expectRevertBy(receiver, rowsOf(row), IChannelEscrow.InvalidSignature.selector);
        row.signature = valid;
        vm.prank(receiver);
        escrow.claim(rowsOf(row));
        assertChannel(plainId, DEPOSIT, 10);
    }

    function _walletChannel()
        private
        returns (bytes32 walletId, ContractWallet wallet, IChannelEscrow.VoucherClaim memory row)
    {
        wallet = new ContractWallet(payer);
        IChannelEscrow.ChannelConfig memory config = configOf(3);
        config.payer = address(wallet);
        config.payerAuthorizer = address(0);
        walletId = fund(config, DEPOSIT);
        row = rowOf(config, 10, 10);
        row.signature = sign(payerKey, escrow.getVoucherDigest(walletId, 10));
    }

    function _expectRevertBy(address sender, IChannelEscrow.VoucherClaim[] memory rows, bytes4 selector)
        private
    {
        vm.prank(sender);
        vm.expectRevert(selector);
        escrow.claim(rows);
    }
}
