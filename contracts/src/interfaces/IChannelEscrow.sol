// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title IChannelEscrow
/// @notice The x402 batch-settlement escrow: a payer funds a channel to one receiver, signs cumulative vouchers off
/// chain, and the receiver claims many channels in one transaction and is paid by one transfer.
interface IChannelEscrow {
    // ---------------------------------------------------------------------------------------------------- types

    /// @notice Everything that identifies a channel. Its EIP-712 digest is the channel id; nothing else is stored.
    struct ChannelConfig {
        /// Whose tokens are deposited, and the only address that refunds and withdrawals pay.
        address payer;
        /// The key that signs vouchers. Zero: the payer itself, by EIP-1271.
        address payerAuthorizer;
        /// The only address that settlements pay.
        address receiver;
        /// Signs claim batches and refunds; may also send them itself.
        address receiverAuthorizer;
        address token;
        /// Seconds between the start of a withdrawal and its end.
        uint40 withdrawDelay;
        bytes32 salt;
    }

    /// @notice The payer's word that up to `maxClaimableAmount` of the channel, counted from its first day, is due.
    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    /// @notice One row of a claim: the voucher, its signature, and what the receiver takes of it.
    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        /// Cumulative, like the voucher: what the channel has paid in all once the row is applied.
        uint128 totalClaimed;
    }

    // --------------------------------------------------------------------------------------------------- events

    /// @notice A channel received its first deposit, or the first one after everything in it went back unclaimed.
    event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
    /// @notice A channel from which nothing was ever claimed holds nothing any more. It can be funded again.
    event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
    event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
    event Claimed(
        bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed
    );
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
    event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
    event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

    // --------------------------------------------------------------------------------------------------- errors

    /// @notice A deposit names a zero payer, receiver, receiver authorizer or token; or a withdrawal is started by
    /// somebody who is neither the payer nor its authorizer.
    error InvalidChannel();
    error ZeroDeposit();
    /// @notice The balance of the channel would not fit in 128 bits.
    error DepositOverflow();
    /// @notice A well-formed signature of somebody else, or a refusal by an EIP-1271 contract.
    error InvalidSignature();
    /// @notice The rows of a signed batch name different receiver authorizers.
    error NotReceiverAuthorizer();
    /// @notice The sender of a claim is neither receiver nor receiver authorizer of one of its rows.
    error NotAuthorizedToClaim();
    /// @notice The sender of a refund is neither receiver nor receiver authorizer.
    error NotAuthorizedToRefund();
    /// @notice A row takes more than its voucher allows.
    error ClaimExceedsCeiling();
    /// @notice A row takes more than the channel holds. Claim the balance instead.
    error ClaimExceedsBalance();
    error WithdrawalAlreadyPending();
    error WithdrawalNotPending();
    error NotAuthorizedToFinalizeWithdraw();
    error WithdrawDelayNotElapsed();
    error NothingToWithdraw();
    error WithdrawAmountExceedsAvailable();
    error WithdrawDelayOutOfRange();
    error EmptyBatch();
    /// @notice The escrow's token balance did not rise by exactly the amount of the deposit.
    error DepositCollectionFailed();
    error InvalidCollector();
    /// @notice A signed refund was used already, or another refund came first.
    error InvalidRefundNonce();
    error ZeroRefund();
    error ReentrancyGuardReentrantCall();

    // --------------------------------------------------------------------------------------------- state changes

    /// @notice Runs several calls to this contract in one transaction, with the same sender; all or none.
    /// @param data One encoded call per element.
    /// @return results What each call returned.
    function multicall(bytes[] calldata data) external returns (bytes[] memory results);

    /// @notice Adds tokens of the payer to a channel. The first deposit opens it.
    /// @dev Anyone may send it: what protects the payer is the authorization inside `collectorData`.
    /// @param collector The contract that brings the tokens; see IDepositCollector.
    function deposit(
        ChannelConfig calldata config,
        uint128 amount,
        address collector,
        bytes calldata collectorData
    ) external;

    /// @notice Records what vouchers are worth to the receiver. Sent by the receiver or the receiver authorizer.
    /// @dev A row that does not exceed what was claimed before changes nothing and is not looked at further. Any
    /// other row that fails undoes the whole call.
    function claim(VoucherClaim[] calldata voucherClaims) external;

    /// @notice The same, sent by anyone for the receiver authorizer that all rows share.
    /// @param authorizerSignature By the receiver authorizer, over `getClaimBatchDigest(voucherClaims)`.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external;

    /// @notice Pays a receiver all that was claimed for it in one token and not paid yet. Anyone may send it.
    function settle(address receiver, address token) external;

    /// @notice Starts the payer's way out, which needs nobody's consent: `amount` can be taken after `withdrawDelay`.
    /// @dev Warning: vouchers reserve nothing. A receiver must claim within the delay; see `finalizeWithdraw`.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;

    /// @notice Pays the payer what it asked for, as far as it was not claimed meanwhile.
    /// @dev Warning: the balance falls by what is paid, so a voucher not claimed before may be worth less after.
    function finalizeWithdraw(ChannelConfig calldata config) external;

    /// @notice Gives unclaimed tokens back to the payer at once. Sent by the receiver or the receiver authorizer.
    /// @param amount At most this much; less when less is unclaimed.
    function refund(ChannelConfig calldata config, uint128 amount) external;

    /// @notice The same, sent by anyone for the receiver authorizer.
    /// @param nonce Must be `refundNonce(channelId)`, which rises with every refund, even one that moves nothing.
    /// @param receiverAuthorizerSignature Over `getRefundDigest(channelId, nonce, amount)`.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external;

    // ---------------------------------------------------------------------------------------------------- views

    /// @return balance Deposits less refunds and withdrawals. Claims do not lower it.
    /// @return totalClaimed What was claimed since the channel's first day; never above `balance`, never falls.
    function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);

    /// @return amount What the payer asked for, less refunds since.
    /// @return initiatedAt Seconds since 1970; zero when no withdrawal is pending.
    function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);

    /// @notice The number of refunds of a channel, which the next signed refund must name.
    function refundNonce(bytes32 channelId) external view returns (uint256);

    /// @return totalClaimed Claimed for this receiver in this token, over all channels and all time.
    /// @return totalSettled How much of it was paid.
    function receivers(address receiver, address token)
        external
        view
        returns (uint128 totalClaimed, uint128 totalSettled);

    function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) external view returns (bytes32);
    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) external view returns (bytes32);
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32);

    /// @notice The EIP-712 domain as EIP-5267 describes it.
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
        );

    function CHANNEL_CONFIG_TYPEHASH() external view returns (bytes32);
    function VOUCHER_TYPEHASH() external view returns (bytes32);
    function REFUND_TYPEHASH() external view returns (bytes32);
    function CLAIM_BATCH_TYPEHASH() external view returns (bytes32);
    function CLAIM_ENTRY_TYPEHASH() external view returns (bytes32);
    /// @notice Seconds; a channel with a shorter delay cannot be funded.
    function MIN_WITHDRAW_DELAY() external view returns (uint40);
    /// @notice Seconds; a channel with a longer delay cannot be funded.
    function MAX_WITHDRAW_DELAY() external view returns (uint40);
}
