// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IChannelEscrow} from "./interfaces/IChannelEscrow.sol";
import {IDepositCollector} from "./interfaces/IDepositCollector.sol";
import {IERC20} from "./interfaces/IERC20.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Transfers} from "./libraries/Transfers.sol";

/// @title ChannelEscrow
/// @notice Payment channels of the x402 batch-settlement scheme. No owner, no fee, no pause, no upgrade.
///
/// TOKEN REQUIREMENTS
/// - A transfer of `n` must move exactly `n`: fee-on-transfer tokens cannot be deposited.
/// - A token whose balances change by themselves can leave the escrow short of it. Only channels in that token suffer.
/// - A token that refuses to pay an address (a block list) freezes what is due to that address, and nothing else.
///
/// LIVENESS
/// - Claims and settlements need no payer, withdrawals need no receiver, and nothing needs a third party.
/// - One bad row undoes a whole claim. Rows that are merely outdated do not.
///
/// TIMING
/// - Vouchers do not expire and cannot be revoked. They outlive refunds, withdrawals and top-ups.
/// - Vouchers reserve nothing: what the receiver has not claimed when a withdrawal ends may be gone.
///
/// TRUST
/// - The payer trusts the receiver side with what it signed and no more: any amount up to a voucher can be claimed.
/// - Collectors and tokens are foreign code chosen by the depositor. They are called with the guard set, after the
///   state is written, and judged by the change of the escrow's own balance.
contract ChannelEscrow is IChannelEscrow {
    // ------------------------------------------------------------------------------------------------ constants

    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = Hashes.CHANNEL_CONFIG_TYPEHASH;
    bytes32 public constant VOUCHER_TYPEHASH = Hashes.VOUCHER_TYPEHASH;
    bytes32 public constant REFUND_TYPEHASH = Hashes.REFUND_TYPEHASH;
    bytes32 public constant CLAIM_BATCH_TYPEHASH = Hashes.CLAIM_BATCH_TYPEHASH;
    bytes32 public constant CLAIM_ENTRY_TYPEHASH = Hashes.CLAIM_ENTRY_TYPEHASH;

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;

    // -------------------------------------------------------------------------------------------------- storage

    struct Channel {
        // slot 0; totalClaimed <= balance, and deposits are checked against 128 bits
        uint128 balance;
        uint128 totalClaimed;
    }

    struct PendingWithdrawal {
        // slot 0
        uint128 amount;
        uint40 initiatedAt;
    }

    struct Receiver {
        // slot 0; totalSettled <= totalClaimed
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    mapping(bytes32 channelId => Channel) public channels;
    mapping(bytes32 channelId => PendingWithdrawal) public pendingWithdrawals;
    mapping(bytes32 channelId => uint256) public refundNonce;
    mapping(address receiver => mapping(address token => Receiver)) public receivers;

    // A whole word, because a packed bool would be read before every write.
    uint256 private transient _entered;

    // ------------------------------------------------------------------------------------------------ modifiers

    /// @dev For functions that call foreign code which may write.
    modifier nonReentrant() {
        _requireNotEntered();
        _entered = 1;
        _;
        _entered = 0;
    }

    /// @dev For functions that do not: nobody can come back into them, but they must not run inside the others.
    modifier notEntered() {
        _requireNotEntered();
        _;
    }

    // ------------------------------------------------------------------------------------------------ multicall

    /// @inheritdoc IChannelEscrow
    function multicall(bytes[] calldata data) external returns (bytes[] memory results) {
        results = new bytes[](data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            (bool success, bytes memory result) = address(this).delegatecall(data[i]);
            if (!success) {
                assembly ("memory-safe") {
                    revert(add(result, 0x20), mload(result))
                }
            }
            results[i] = result;
        }
    }

    // -------------------------------------------------------------------------------------------------- deposit

    /// @inheritdoc IChannelEscrow
    function deposit(
        ChannelConfig calldata config,
        uint128 amount,
        address collector,
        bytes calldata collectorData
    ) external nonReentrant {
        if (
            config.payer == address(0) || config.receiver == address(0)
                || config.receiverAuthorizer == address(0) || config.token == address(0)
        ) revert InvalidChannel();
        if (config.withdrawDelay < MIN_WITHDRAW_DELAY || config.withdrawDelay > MAX_WITHDRAW_DELAY) {
            revert WithdrawDelayOutOfRange();
        }
        if (amount == 0) revert ZeroDeposit();
        if (collector == address(0)) revert InvalidCollector();

        bytes32 channelId = getChannelId(config);
        Channel storage channel = channels[channelId];
        uint128 oldBalance = channel.balance;
        if (amount > type(uint128).max - oldBalance) revert DepositOverflow();
        uint128 newBalance = oldBalance + amount;
        channel.balance = newBalance;

        _collect(config, amount, collector, channelId, collectorData);

        // An empty channel is an unclaimed one: claims never exceed the balance.
        if (oldBalance == 0) emit ChannelCreated(channelId, config);
        emit Deposited(channelId, msg.sender, amount, newBalance);
    }

    // --------------------------------------------------------------------------------------------------- claims

    /// @inheritdoc IChannelEscrow
    function claim(VoucherClaim[] calldata voucherClaims) external notEntered {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 separator = Hashes.domainSeparator();
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            ChannelConfig calldata config = row.voucher.channel;
            if (!_isReceiverSide(config)) revert NotAuthorizedToClaim();
            _applyClaim(row, Hashes.channelId(separator, config), separator);
        }
    }

    /// @inheritdoc IChannelEscrow
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        notEntered
    {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 separator = Hashes.domainSeparator();
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        (bytes32 digest, bytes32[] memory channelIds) = Hashes.claimBatch(separator, voucherClaims);
        if (!Signatures.isValid(authorizer, digest, authorizerSignature)) revert InvalidSignature();
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            if (row.voucher.channel.receiverAuthorizer != authorizer) revert NotReceiverAuthorizer();
            _applyClaim(row, channelIds[i], separator);
        }
    }

    /// @inheritdoc IChannelEscrow
    function settle(address receiver, address token) external nonReentrant {
        Receiver storage state = receivers[receiver][token];
        (uint128 totalClaimed, uint128 totalSettled) = (state.totalClaimed, state.totalSettled);
        uint128 amount = totalClaimed - totalSettled;
        if (amount == 0) return;

        state.totalSettled = totalClaimed;
        Transfers.send(token, receiver, amount);
        emit Settled(receiver, token, msg.sender, amount);
    }

    // ---------------------------------------------------------------------------------------- the payer's way out

    /// @inheritdoc IChannelEscrow
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external notEntered {
        if (!_isPayerSide(config)) revert InvalidChannel();
        if (amount == 0) revert NothingToWithdraw();

        bytes32 channelId = getChannelId(config);
        PendingWithdrawal storage pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt != 0) revert WithdrawalAlreadyPending();
        if (amount > _unclaimed(channels[channelId])) revert WithdrawAmountExceedsAvailable();

        uint40 initiatedAt = uint40(block.timestamp);
        pending.amount = amount;
        pending.initiatedAt = initiatedAt;
        emit WithdrawInitiated(channelId, amount, initiatedAt + config.withdrawDelay);
    }

    /// @inheritdoc IChannelEscrow
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        if (!_isPayerSide(config)) revert NotAuthorizedToFinalizeWithdraw();

        bytes32 channelId = getChannelId(config);
        PendingWithdrawal memory pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt == 0) revert WithdrawalNotPending();
        if (block.timestamp < uint256(pending.initiatedAt) + config.withdrawDelay) {
            revert WithdrawDelayNotElapsed();
        }

        Channel storage channel = channels[channelId];
        uint128 amount = _min(pending.amount, _unclaimed(channel));
        delete pendingWithdrawals[channelId];
        channel.balance -= amount;

        emit WithdrawFinalized(channelId, msg.sender, amount);
        _payPayer(config, channelId, channel, amount);
    }

    // -------------------------------------------------------------------------------------------------- refunds

    /// @inheritdoc IChannelEscrow
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        if (!_isReceiverSide(config)) revert NotAuthorizedToRefund();
        _refund(config, getChannelId(config), amount);
    }

    /// @inheritdoc IChannelEscrow
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 channelId = getChannelId(config);
        if (nonce != refundNonce[channelId]) revert InvalidRefundNonce();
        bytes32 digest = getRefundDigest(channelId, nonce, amount);
        if (!Signatures.isValid(config.receiverAuthorizer, digest, receiverAuthorizerSignature)) {
            revert InvalidSignature();
        }
        _refund(config, channelId, amount);
    }

    // --------------------------------------------------------------------------------------------------- hashes

    /// @inheritdoc IChannelEscrow
    function getChannelId(ChannelConfig calldata config) public view returns (bytes32) {
        return Hashes.channelId(Hashes.domainSeparator(), config);
    }

    /// @inheritdoc IChannelEscrow
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32) {
        return Hashes.voucher(Hashes.domainSeparator(), channelId, maxClaimableAmount);
    }

    /// @inheritdoc IChannelEscrow
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return Hashes.refund(Hashes.domainSeparator(), channelId, nonce, amount);
    }

    /// @inheritdoc IChannelEscrow
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims)
        external
        view
        returns (bytes32 digest)
    {
        (digest,) = Hashes.claimBatch(Hashes.domainSeparator(), voucherClaims);
    }

    /// @inheritdoc IChannelEscrow
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        return (
            hex"0f",
            Hashes.DOMAIN_NAME,
            Hashes.DOMAIN_VERSION,
            block.chainid,
            address(this),
            bytes32(0),
            new uint256[](0)
        );
    }

    // ------------------------------------------------------------------------------------------------ internals

    function _requireNotEntered() private view {
        if (_entered != 0) revert ReentrancyGuardReentrantCall();
    }

    function _isReceiverSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.receiver || msg.sender == config.receiverAuthorizer;
    }

    function _isPayerSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.payer || msg.sender == config.payerAuthorizer;
    }

    function _unclaimed(Channel storage channel) private view returns (uint128) {
        return channel.balance - channel.totalClaimed;
    }

    function _min(uint128 a, uint128 b) private pure returns (uint128) {
        return a < b ? a : b;
    }

    /// @dev The exact change of balance is what makes any collector safe to call: it can fail, but not lie.
    function _collect(
        ChannelConfig calldata config,
        uint128 amount,
        address collector,
        bytes32 channelId,
        bytes calldata collectorData
    ) private {
        uint256 balanceBefore = IERC20(config.token).balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, config.token, amount, channelId, collectorData);
        if (IERC20(config.token).balanceOf(address(this)) != balanceBefore + amount) {
            revert DepositCollectionFailed();
        }
    }

    /// @dev The order matters: an outdated row is skipped before anything else about it is judged, so that a claim
    /// that raced with another one still lands.
    function _applyClaim(VoucherClaim calldata row, bytes32 channelId, bytes32 separator) private {
        Channel storage channel = channels[channelId];
        uint128 claimedBefore = channel.totalClaimed;
        uint128 totalClaimed = row.totalClaimed;
        if (totalClaimed <= claimedBefore) return;
        uint128 ceiling = row.voucher.maxClaimableAmount;
        if (totalClaimed > ceiling) revert ClaimExceedsCeiling();
        if (totalClaimed > channel.balance) revert ClaimExceedsBalance();

        ChannelConfig calldata config = row.voucher.channel;
        _requireVoucherSigned(config, Hashes.voucher(separator, channelId, ceiling), row.signature);

        uint128 amount = totalClaimed - claimedBefore;
        channel.totalClaimed = totalClaimed;
        receivers[config.receiver][config.token].totalClaimed += amount;
        emit Claimed(channelId, msg.sender, amount, totalClaimed);
    }

    /// @dev An authorizer signs by its key even when it has code, so that an EIP-7702 account keeps working.
    function _requireVoucherSigned(ChannelConfig calldata config, bytes32 digest, bytes calldata signature)
        private
        view
    {
        address authorizer = config.payerAuthorizer;
        bool valid = authorizer == address(0)
            ? Signatures.isValid(config.payer, digest, signature)
            : Signatures.recover(digest, signature) == authorizer;
        if (!valid) revert InvalidSignature();
    }

    /// @dev The nonce rises first and always, so that no refund signature can ever be used twice.
    function _refund(ChannelConfig calldata config, bytes32 channelId, uint128 requested) private {
        if (requested == 0) revert ZeroRefund();
        ++refundNonce[channelId];

        Channel storage channel = channels[channelId];
        uint128 amount = _min(requested, _unclaimed(channel));
        if (amount == 0) return;
        channel.balance -= amount;

        PendingWithdrawal storage pending = pendingWithdrawals[channelId];
        if (pending.initiatedAt != 0) {
            if (amount >= pending.amount) delete pendingWithdrawals[channelId];
            else pending.amount -= amount;
        }

        emit Refunded(channelId, msg.sender, amount);
        _payPayer(config, channelId, channel, amount);
    }

    function _payPayer(
        ChannelConfig calldata config,
        bytes32 channelId,
        Channel storage channel,
        uint128 amount
    ) private {
        if (channel.balance == 0) emit ChannelClosed(channelId, config);
        if (amount != 0) Transfers.send(config.token, config.payer, amount);
    }
}
