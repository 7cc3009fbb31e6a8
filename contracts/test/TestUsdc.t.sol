// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {TestUsdc} from "../src/TestUsdc.sol";
import {EscrowBase} from "./base/EscrowBase.sol";
import {ContractWallet} from "./mocks/ContractWallet.sol";

contract TestUsdcTest is EscrowBase {
    bytes32 private constant NONCE = keccak256("nonce");
    uint256 private constant FOREVER = type(uint256).max;

    function test_metadata() public view {
        assertEq(token.name(), "USDC");
        assertEq(token.symbol(), "USDC");
        assertEq(token.version(), "2");
        assertEq(token.decimals(), 6);
    }

    function test_mint_isFree() public {
        vm.expectEmit(address(token));
        emit TestUsdc.Transfer(address(0), payer, 5);
        vm.prank(stranger);
        token.mint(payer, 5);
        assertEq(token.balanceOf(payer), 5);
        assertEq(token.totalSupply(), 5);
        vm.expectRevert(TestUsdc.ZeroAddress.selector);
        token.mint(address(0), 1);
    }

    function test_transfer_moves() public {
        token.mint(payer, 5);
        vm.expectEmit(address(token));
        emit TestUsdc.Transfer(payer, stranger, 3);
        vm.prank(payer);
        assertTrue(token.transfer(stranger, 3));
        assertEq(token.balanceOf(payer), 2);
        assertEq(token.balanceOf(stranger), 3);
    }

    function test_transfer_toItselfChangesNothing() public {
        token.mint(payer, 5);
        vm.prank(payer);
        token.transfer(payer, 3);
        assertEq(token.balanceOf(payer), 5);
    }

    function test_transfer_reverts() public {
        vm.startPrank(payer);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.InsufficientBalance.selector, payer, 0, 1));
        token.transfer(stranger, 1);
        vm.expectRevert(TestUsdc.ZeroAddress.selector);
        token.transfer(address(0), 0);
    }

    function test_transferFrom_spendsAnAllowance() public {
        token.mint(payer, 5);
        vm.expectEmit(address(token));
        emit TestUsdc.Approval(payer, stranger, 4);
        vm.prank(payer);
        assertTrue(token.approve(stranger, 4));
        vm.startPrank(stranger);
        assertTrue(token.transferFrom(payer, stranger, 3));
        assertEq(token.allowance(payer, stranger), 1);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.InsufficientAllowance.selector, stranger, 1, 2));
        token.transferFrom(payer, stranger, 2);
    }

    function test_transferFrom_keepsAnInfiniteAllowance() public {
        token.mint(payer, 5);
        vm.prank(payer);
        token.approve(stranger, FOREVER);
        vm.prank(stranger);
        token.transferFrom(payer, stranger, 3);
        assertEq(token.allowance(payer, stranger), FOREVER);
    }

    // ------------------------------------------------------------------------------------------------- ERC-3009

    function test_transferWithAuthorization_inBothForms() public {
        token.mint(payer, 10);
        bytes memory signature = _signTransfer(payerKey, payer, stranger, 3, NONCE);
        vm.expectEmit(address(token));
        emit TestUsdc.AuthorizationUsed(payer, NONCE);
        vm.expectEmit(address(token));
        emit TestUsdc.Transfer(payer, stranger, 3);
        vm.prank(relay);
        token.transferWithAuthorization(payer, stranger, 3, 0, FOREVER, NONCE, signature);
        assertTrue(token.authorizationState(payer, NONCE));

        bytes32 second = keccak256("second");
        (bytes32 r, bytes32 s, uint8 v) = parts(_signTransfer(payerKey, payer, stranger, 4, second));
        token.transferWithAuthorization(payer, stranger, 4, 0, FOREVER, second, v, r, s);
        assertEq(token.balanceOf(stranger), 7);
    }

    function test_receiveWithAuthorization_inBothForms() public {
        token.mint(payer, 10);
        bytes memory signature = signReceive(address(token), payerKey, payer, receiver, 3, NONCE);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.CallerMustBePayee.selector, address(this), receiver));
        token.receiveWithAuthorization(payer, receiver, 3, 0, FOREVER, NONCE, signature);
        vm.prank(receiver);
        token.receiveWithAuthorization(payer, receiver, 3, 0, FOREVER, NONCE, signature);

        bytes32 second = keccak256("second");
        (bytes32 r, bytes32 s, uint8 v) =
            parts(signReceive(address(token), payerKey, payer, receiver, 4, second));
        vm.prank(receiver);
        token.receiveWithAuthorization(payer, receiver, 4, 0, FOREVER, second, v, r, s);
        assertEq(token.balanceOf(receiver), 7);
    }

    function test_authorization_reverts_whenUsedTwice() public {
        token.mint(payer, 10);
        bytes memory signature = _signTransfer(payerKey, payer, stranger, 3, NONCE);
        token.transferWithAuthorization(payer, stranger, 3, 0, FOREVER, NONCE, signature);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationAlreadyUsed.selector, payer, NONCE));
        token.transferWithAuthorization(payer, stranger, 3, 0, FOREVER, NONCE, signature);
    }

    function test_authorization_reverts_outsideItsTime() public {
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationNotYetValid.selector, START));
        token.transferWithAuthorization(payer, stranger, 3, START, FOREVER, NONCE, "");
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.AuthorizationExpired.selector, START));
        token.transferWithAuthorization(payer, stranger, 3, 0, START, NONCE, "");
    }

    function test_authorization_reverts_whenNotSignedByThePayer() public {
        token.mint(payer, 10);
        bytes memory foreign = _signTransfer(strangerKey, payer, stranger, 3, NONCE);
        _expectInvalid(foreign, 3);
        bytes memory valid = _signTransfer(payerKey, payer, stranger, 3, NONCE);
        _expectInvalid(valid, 4);
        _expectInvalid(mirrored(valid), 3);
        _expectInvalid("", 3);
        bytes memory forReceipt = signReceive(address(token), payerKey, payer, stranger, 3, NONCE);
        _expectInvalid(forReceipt, 3);
        vm.chainId(block.chainid + 1);
        _expectInvalid(valid, 3);
    }

    function test_authorization_asksAPayerWithCode() public {
        ContractWallet wallet = new ContractWallet(payer);
        token.mint(address(wallet), 10);
        bytes memory signature = _signTransfer(payerKey, address(wallet), stranger, 3, NONCE);
        wallet.become(ContractWallet.Mood.Reverts);
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        token.transferWithAuthorization(address(wallet), stranger, 3, 0, FOREVER, NONCE, signature);
        wallet.become(ContractWallet.Mood.Honest);
        token.transferWithAuthorization(address(wallet), stranger, 3, 0, FOREVER, NONCE, signature);
        assertEq(token.balanceOf(stranger), 3);
    }

    // ------------------------------------------------------------------------------------------------- ERC-2612

    function test_permit_approvesOnce() public {
        (bytes32 r, bytes32 s, uint8 v) = parts(_signPermit(payerKey, 5, 0));
        token.permit(payer, stranger, 5, FOREVER, v, r, s);
        assertEq(token.allowance(payer, stranger), 5);
        assertEq(token.nonces(payer), 1);
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        token.permit(payer, stranger, 5, FOREVER, v, r, s);
    }

    function test_permit_reverts() public {
        (bytes32 r, bytes32 s, uint8 v) = parts(_signPermit(strangerKey, 5, 0));
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        token.permit(payer, stranger, 5, FOREVER, v, r, s);
        vm.expectRevert(abi.encodeWithSelector(TestUsdc.PermitExpired.selector, START - 1));
        token.permit(payer, stranger, 5, START - 1, v, r, s);
    }

    function _expectInvalid(bytes memory signature, uint256 value) private {
        vm.expectRevert(TestUsdc.InvalidSignature.selector);
        token.transferWithAuthorization(payer, stranger, value, 0, FOREVER, NONCE, signature);
    }

    function _signTransfer(uint256 key, address from, address to, uint256 value, bytes32 nonce)
        private
        view
        returns (bytes memory)
    {
        bytes32 typehash = token.TRANSFER_WITH_AUTHORIZATION_TYPEHASH();
        return _signStruct(key, abi.encode(typehash, from, to, value, uint256(0), FOREVER, nonce));
    }

    function _signPermit(uint256 key, uint256 value, uint256 nonce) private view returns (bytes memory) {
        return _signStruct(key, abi.encode(token.PERMIT_TYPEHASH(), payer, stranger, value, nonce, FOREVER));
    }

    function _signStruct(uint256 key, bytes memory encoded) private view returns (bytes memory) {
        return sign(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), keccak256(encoded))));
    }
}
