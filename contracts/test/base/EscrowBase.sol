// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {ChannelEscrow} from "../../src/ChannelEscrow.sol";
import {Erc3009Collector} from "../../src/Erc3009Collector.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {TestUsdc} from "../../src/TestUsdc.sol";

/// @notice The cast, and the few things that every escrow test does.
abstract contract EscrowBase is Test {
    uint128 internal constant DEPOSIT = 10_000_000;
    uint40 internal constant DELAY = 1 days;
    uint256 internal constant START = 1_800_000_000;

    ChannelEscrow internal escrow;
    Erc3009Collector internal collector;
    TestUsdc internal token;

    address internal payer;
    uint256 internal payerKey;
    address internal authorizer;
    uint256 internal authorizerKey;
    address internal receiver;
    address internal receiverAuthorizer;
    uint256 internal receiverAuthorizerKey;
    address internal relay = makeAddr("relay");
    address internal stranger;
    uint256 internal strangerKey;

    uint256 private nextAuthorizationSalt;

    function setUp() public virtual {
        vm.warp(START);
        escrow = new ChannelEscrow();
        collector = new Erc3009Collector(address(escrow));
        token = new TestUsdc();
        (payer, payerKey) = makeAddrAndKey("payer");
        (authorizer, authorizerKey) = makeAddrAndKey("payer authorizer");
        receiver = makeAddr("receiver");
        (receiverAuthorizer, receiverAuthorizerKey) = makeAddrAndKey("receiver authorizer");
        (stranger, strangerKey) = makeAddrAndKey("stranger");
    }

    function configOf(uint256 salt) internal view returns (IChannelEscrow.ChannelConfig memory) {
        return IChannelEscrow.ChannelConfig({
            payer: payer,
            payerAuthorizer: authorizer,
            receiver: receiver,
            receiverAuthorizer: receiverAuthorizer,
            token: address(token),
            withdrawDelay: DELAY,
            salt: bytes32(salt)
        });
    }

    // -------------------------------------------------------------------------------------------------- deposits

    /// @notice What a payer hands out to have `amount` deposited, for a salt that was not used yet.
    function authorizationFor(IChannelEscrow.ChannelConfig memory config, uint128 amount)
        internal
        returns (bytes memory collectorData)
    {
        return authorizationFor(config, amount, ++nextAuthorizationSalt);
    }

    function authorizationFor(IChannelEscrow.ChannelConfig memory config, uint128 amount, uint256 salt)
        internal
        view
        returns (bytes memory collectorData)
    {
        bytes32 nonce = keccak256(abi.encode(escrow.getChannelId(config), salt));
        bytes memory signature =
            signReceive(config.token, payerKey, config.payer, address(collector), amount, nonce);
        return abi.encode(uint256(0), type(uint256).max, salt, signature);
    }

    function signReceive(address asset, uint256 key, address from, address to, uint256 value, bytes32 nonce)
        internal
        view
        returns (bytes memory)
    {
        TestUsdc usdc = TestUsdc(asset);
        bytes32 structHash = keccak256(
            abi.encode(
                usdc.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                from,
                to,
                value,
                uint256(0),
                type(uint256).max,
                nonce
            )
        );
        return sign(key, keccak256(abi.encodePacked(hex"1901", usdc.DOMAIN_SEPARATOR(), structHash)));
    }

    /// @notice Mints to the payer and deposits it in the payer's name.
    function fund(IChannelEscrow.ChannelConfig memory config, uint128 amount) internal returns (bytes32 id) {
        TestUsdc(config.token).mint(config.payer, amount);
        bytes memory collectorData = authorizationFor(config, amount);
        vm.prank(relay);
        escrow.deposit(config, amount, address(collector), collectorData);
        return escrow.getChannelId(config);
    }

    // ---------------------------------------------------------------------------------------------------- claims

    function rowOf(IChannelEscrow.ChannelConfig memory config, uint128 ceiling, uint128 totalClaimed)
        internal
        view
        returns (IChannelEscrow.VoucherClaim memory)
    {
        bytes32 digest = escrow.getVoucherDigest(escrow.getChannelId(config), ceiling);
        return IChannelEscrow.VoucherClaim({
            voucher: IChannelEscrow.Voucher({channel: config, maxClaimableAmount: ceiling}),
            signature: sign(authorizerKey, digest),
            totalClaimed: totalClaimed
        });
    }

    function rowsOf(IChannelEscrow.VoucherClaim memory row)
        internal
        pure
        returns (IChannelEscrow.VoucherClaim[] memory rows)
    {
        rows = new IChannelEscrow.VoucherClaim[](1);
        rows[0] = row;
    }

    function rowsOf(IChannelEscrow.ChannelConfig memory config, uint128 ceiling, uint128 totalClaimed)
        internal
        view
        returns (IChannelEscrow.VoucherClaim[] memory rows)
    {
        return rowsOf(rowOf(config, ceiling, totalClaimed));
    }

    function claimAsReceiver(IChannelEscrow.ChannelConfig memory config, uint128 totalClaimed) internal {
        IChannelEscrow.VoucherClaim[] memory rows = rowsOf(config, totalClaimed, totalClaimed);
        vm.prank(receiver);
        escrow.claim(rows);
    }

    function signBatch(IChannelEscrow.VoucherClaim[] memory rows) internal view returns (bytes memory) {
        return sign(receiverAuthorizerKey, escrow.getClaimBatchDigest(rows));
    }

    function signRefund(bytes32 channelId, uint256 nonce, uint128 amount)
        internal
        view
        returns (bytes memory)
    {
        return sign(receiverAuthorizerKey, escrow.getRefundDigest(channelId, nonce, amount));
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// @notice The second signature that plain secp256k1 would accept for the same message and key.
    function mirrored(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = parts(signature);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        return abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
    }

    function parts(bytes memory signature) internal pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
    }

    // ---------------------------------------------------------------------------------------------------- checks

    function assertChannel(bytes32 id, uint128 balance, uint128 totalClaimed) internal view {
        (uint128 actualBalance, uint128 actualClaimed) = escrow.channels(id);
        assertEq(actualBalance, balance, "channel balance");
        assertEq(actualClaimed, totalClaimed, "channel totalClaimed");
    }

    function assertReceiver(address account, uint128 totalClaimed, uint128 totalSettled) internal view {
        (uint128 actualClaimed, uint128 actualSettled) = escrow.receivers(account, address(token));
        assertEq(actualClaimed, totalClaimed, "receiver totalClaimed");
        assertEq(actualSettled, totalSettled, "receiver totalSettled");
    }

    function assertPending(bytes32 id, uint128 amount, uint256 initiatedAt) internal view {
        (uint128 actualAmount, uint40 actualInitiatedAt) = escrow.pendingWithdrawals(id);
        assertEq(actualAmount, amount, "pending amount");
        assertEq(actualInitiatedAt, initiatedAt, "pending initiatedAt");
    }
}
