// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {ChannelEscrow} from "../../src/ChannelEscrow.sol";
import {Erc3009Collector} from "../../src/Erc3009Collector.sol";
import {IChannelEscrow} from "../../src/interfaces/IChannelEscrow.sol";
import {TestUsdc} from "../../src/TestUsdc.sol";

/// @notice Does what payers, receivers and relays may do, in any order, and keeps its own books beside the escrow's.
/// @dev Every call here must succeed, except replays, which must either fail or change nothing.
contract Handler is Test {
    uint256 private constant PARTIES = 2;
    uint256 private constant CHANNELS_PER_PAIR = 2;
    uint256 private constant KEPT_CALLS = 16;
    uint128 private constant MAX_DEPOSIT = 1e12;

    ChannelEscrow public immutable escrow;
    Erc3009Collector public immutable collector;
    TestUsdc public immutable token;

    /// @notice What this contract believes of a channel, from what it did alone.
    struct Book {
        uint256 deposited;
        uint256 returned;
        uint256 claimed;
        uint256 highestSigned;
        uint256 refunds;
    }

    struct Call {
        address sender;
        bytes data;
    }

    IChannelEscrow.ChannelConfig[] private configs;
    bytes32[] private ids;
    address[] public payers;
    address[] public receivers;
    address private immutable RELAY = makeAddr("relay");
    address private immutable STRANGER = makeAddr("stranger");
    mapping(bytes32 channelId => Book) private books;
    mapping(address payer => uint256) public minted;
    mapping(address account => uint256) private keys;
    Call[] private pastCalls;
    uint256 private salt;
    uint256 public replaysThatChangedSomething;

    constructor(ChannelEscrow escrow_, Erc3009Collector collector_, TestUsdc token_) {
        escrow = escrow_;
        collector = collector_;
        token = token_;
        // One authorizer serves both receivers, so that its batches mix them.
        address receiverAuthorizer = _account("receiver authorizer", 0);
        for (uint256 i = 0; i < PARTIES; ++i) {
            payers.push(_account("payer", i));
            receivers.push(_account("receiver", i));
        }
        for (uint256 i = 0; i < PARTIES * PARTIES * CHANNELS_PER_PAIR; ++i) {
            configs.push(
                IChannelEscrow.ChannelConfig({
                    payer: payers[i % PARTIES],
                    payerAuthorizer: _account("payer authorizer", i % PARTIES),
                    receiver: receivers[(i / PARTIES) % PARTIES],
                    receiverAuthorizer: receiverAuthorizer,
                    token: address(token_),
                    withdrawDelay: 15 minutes,
                    salt: bytes32(i)
                })
            );
            ids.push(escrow_.getChannelId(configs[i]));
        }
    }

    // -------------------------------------------------------------------------------------------------- actions

    function deposit(uint256 seed, uint128 amount) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        amount = uint128(bound(amount, 1, MAX_DEPOSIT));
        token.mint(config.payer, amount);
        minted[config.payer] += amount;
        bytes memory data = _signDeposit(config, id, amount);
        books[id].deposited += amount;
        _call(RELAY, abi.encodeCall(escrow.deposit, (config, amount, address(collector), data)));
    }

    function claim(uint256 seed, uint128 ceiling, uint128 totalClaimed, bool asAuthorizer) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](1);
        rows[0] = _row(config, id, ceiling, totalClaimed);
        address sender = asAuthorizer ? config.receiverAuthorizer : config.receiver;
        _call(sender, abi.encodeCall(escrow.claim, (rows)));
    }

    function claimBatch(uint256 seed, uint8 size, uint128 ceiling, uint128 totalClaimed) external {
        IChannelEscrow.VoucherClaim[] memory rows = new IChannelEscrow.VoucherClaim[](bound(size, 1, 6));
        for (uint256 i = 0; i < rows.length; ++i) {
            (IChannelEscrow.ChannelConfig memory config, bytes32 id) =
                _channel(uint256(keccak256(abi.encode(seed, i))));
            rows[i] = _row(config, id, ceiling, totalClaimed);
        }
        bytes memory signature =
            _sign(rows[0].voucher.channel.receiverAuthorizer, escrow.getClaimBatchDigest(rows));
        _call(RELAY, abi.encodeCall(escrow.claimWithSignature, (rows, signature)));
    }

    function settle(uint256 seed) external {
        (IChannelEscrow.ChannelConfig memory config,) = _channel(seed);
        _call(RELAY, abi.encodeCall(escrow.settle, (config.receiver, address(token))));
    }

    function initiateWithdraw(uint256 seed, uint128 amount, bool asAuthorizer) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        uint128 available = unclaimed(id);
        (, uint40 initiatedAt) = escrow.pendingWithdrawals(id);
        if (available == 0 || initiatedAt != 0) return;
        amount = uint128(bound(amount, 1, available));
        address sender = asAuthorizer ? config.payerAuthorizer : config.payer;
        _call(sender, abi.encodeCall(escrow.initiateWithdraw, (config, amount)));
    }

    function finalizeWithdraw(uint256 seed) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        (uint128 amount, uint40 initiatedAt) = escrow.pendingWithdrawals(id);
        if (initiatedAt == 0) return;
        vm.warp(vm.getBlockTimestamp() + config.withdrawDelay);
        books[id].returned += _min(amount, unclaimed(id));
        _call(config.payer, abi.encodeCall(escrow.finalizeWithdraw, (config)));
    }

    function refund(uint256 seed, uint128 amount) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        amount = uint128(bound(amount, 1, 2 * uint256(MAX_DEPOSIT)));
        _bookRefund(id, amount);
        _call(config.receiver, abi.encodeCall(escrow.refund, (config, amount)));
    }

    function refundWithSignature(uint256 seed, uint128 amount) external {
        (IChannelEscrow.ChannelConfig memory config, bytes32 id) = _channel(seed);
        amount = uint128(bound(amount, 1, 2 * uint256(MAX_DEPOSIT)));
        uint256 nonce = escrow.refundNonce(id);
        bytes memory signature = _sign(config.receiverAuthorizer, escrow.getRefundDigest(id, nonce, amount));
        _bookRefund(id, amount);
        _call(RELAY, abi.encodeCall(escrow.refundWithSignature, (config, amount, nonce, signature)));
    }

    function warp(uint16 secondsForward) external {
        vm.warp(vm.getBlockTimestamp() + secondsForward);
    }

    /// @notice Anybody sends any earlier call again, word for word.
    function replayByStranger(uint256 seed) external {
        if (pastCalls.length == 0) return;
        _replay(STRANGER, pastCalls[seed % pastCalls.length].data);
    }

    /// @notice Who sent a claim sends it again.
    function replayClaim(uint256 seed) external {
        if (pastCalls.length == 0) return;
        Call storage past = pastCalls[seed % pastCalls.length];
        bytes4 selector = bytes4(past.data);
        if (selector != escrow.claim.selector && selector != escrow.claimWithSignature.selector) return;
        _replay(past.sender, past.data);
    }

    // ---------------------------------------------------------------------------------------------------- books

    /// @notice All channels with what was done to them, in one call, because invariants are checked very often.
    function channels()
        external
        view
        returns (IChannelEscrow.ChannelConfig[] memory, bytes32[] memory, Book[] memory bookList)
    {
        bookList = new Book[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            bookList[i] = books[ids[i]];
        }
        return (configs, ids, bookList);
    }

    function partyCount() external pure returns (uint256) {
        return PARTIES;
    }

    function unclaimed(bytes32 id) private view returns (uint128) {
        (uint128 balance, uint128 totalClaimed) = escrow.channels(id);
        return balance - totalClaimed;
    }

    function _bookRefund(bytes32 id, uint128 amount) private {
        books[id].refunds += 1;
        books[id].returned += _min(amount, unclaimed(id));
    }

    // ------------------------------------------------------------------------------------------------ internals

    function _channel(uint256 seed)
        private
        view
        returns (IChannelEscrow.ChannelConfig memory config, bytes32 id)
    {
        config = configs[seed % configs.length];
        id = ids[seed % configs.length];
    }

    /// @dev A row that must be accepted: within the balance, and within its ceiling unless it is outdated.
    function _row(
        IChannelEscrow.ChannelConfig memory config,
        bytes32 id,
        uint128 ceiling,
        uint128 totalClaimed
    ) private returns (IChannelEscrow.VoucherClaim memory) {
        (uint128 balance, uint128 claimedBefore) = escrow.channels(id);
        totalClaimed = uint128(bound(totalClaimed, 0, balance));
        ceiling = uint128(bound(ceiling, totalClaimed, type(uint128).max));
        Book storage book = books[id];
        if (ceiling > book.highestSigned) book.highestSigned = ceiling;
        if (totalClaimed > claimedBefore && totalClaimed > book.claimed) book.claimed = totalClaimed;
        return IChannelEscrow.VoucherClaim({
            voucher: IChannelEscrow.Voucher({channel: config, maxClaimableAmount: ceiling}),
            signature: _sign(config.payerAuthorizer, escrow.getVoucherDigest(id, ceiling)),
            totalClaimed: totalClaimed
        });
    }

    function _signDeposit(IChannelEscrow.ChannelConfig memory config, bytes32 id, uint128 amount)
        private
        returns (bytes memory)
    {
        bytes32 nonce = keccak256(abi.encode(id, ++salt));
        bytes32 structHash = keccak256(
            abi.encode(
                token.RECEIVE_WITH_AUTHORIZATION_TYPEHASH(),
                config.payer,
                address(collector),
                uint256(amount),
                uint256(0),
                type(uint256).max,
                nonce
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
        return abi.encode(uint256(0), type(uint256).max, salt, _sign(config.payer, digest));
    }

    function _call(address sender, bytes memory data) private {
        if (pastCalls.length < KEPT_CALLS) pastCalls.push(Call(sender, data));
        else pastCalls[uint256(keccak256(data)) % KEPT_CALLS] = Call(sender, data);
        vm.prank(sender);
        (bool success, bytes memory result) = address(escrow).call(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    /// @dev A settlement is left out: it carries no authority of anyone, and a later one may well have something due.
    function _replay(address sender, bytes memory data) private {
        if (bytes4(data) == escrow.settle.selector) return;
        bytes32 before = _stateHash();
        vm.prank(sender);
        (bool success,) = address(escrow).call(data);
        if (success && _stateHash() != before) ++replaysThatChangedSomething;
    }

    function _stateHash() private view returns (bytes32 hash) {
        hash = bytes32(token.balanceOf(address(escrow)));
        for (uint256 i = 0; i < configs.length; ++i) {
            bytes32 id = ids[i];
            (uint128 balance, uint128 totalClaimed) = escrow.channels(id);
            (uint128 pending, uint40 initiatedAt) = escrow.pendingWithdrawals(id);
            uint256 nonce = escrow.refundNonce(id);
            hash = keccak256(abi.encode(hash, balance, totalClaimed, pending, initiatedAt, nonce));
        }
        for (uint256 i = 0; i < PARTIES; ++i) {
            (uint128 claimed, uint128 settled) = escrow.receivers(receivers[i], address(token));
            uint256 paid = token.balanceOf(payers[i]) + token.balanceOf(receivers[i]);
            hash = keccak256(abi.encode(hash, claimed, settled, paid));
        }
    }

    function _account(string memory role, uint256 index) private returns (address account) {
        uint256 key;
        (account, key) = makeAddrAndKey(string.concat(role, " ", vm.toString(index)));
        keys[account] = key;
    }

    function _sign(address account, bytes32 digest) private view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[account], digest);
        return abi.encodePacked(r, s, v);
    }

    function _min(uint128 a, uint128 b) private pure returns (uint128) {
        return a < b ? a : b;
    }
}
