/** The published interface of the escrow and of its token, as far as it is used. */
import { Interface } from 'ethers'

const config =
  '(address payer, address payerAuthorizer, address receiver, address receiverAuthorizer, address token, uint40 withdrawDelay, bytes32 salt)'
const claim = `((${config} channel, uint128 maxClaimableAmount) voucher, bytes signature, uint128 totalClaimed)`

/** Functions, events and errors of the escrow, of the signature library in it, and of the ERC-3009 collector. */
export const escrowAbi = new Interface([
  'function multicall(bytes[] data) returns (bytes[] results)',
  `function deposit(${config} config, uint128 amount, address collector, bytes collectorData)`,
  `function claim(${claim}[] voucherClaims)`,
  `function claimWithSignature(${claim}[] voucherClaims, bytes authorizerSignature)`,
  'function settle(address receiver, address token)',
  `function refund(${config} config, uint128 amount)`,
  `function refundWithSignature(${config} config, uint128 amount, uint256 nonce, bytes receiverAuthorizerSignature)`,
  `function initiateWithdraw(${config} config, uint128 amount)`,
  `function finalizeWithdraw(${config} config)`,
  'function channels(bytes32 channelId) view returns (uint128 balance, uint128 totalClaimed)',
  'function pendingWithdrawals(bytes32 channelId) view returns (uint128 amount, uint40 initiatedAt)',
  'function refundNonce(bytes32 channelId) view returns (uint256)',
  'function receivers(address receiver, address token) view returns (uint128 totalClaimed, uint128 totalSettled)',
  `event ChannelCreated(bytes32 indexed channelId, ${config} config)`,
  `event ChannelClosed(bytes32 indexed channelId, ${config} config)`,
  'event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance)',
  'event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed)',
  'event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount)',
  'event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount)',
  'event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter)',
  'event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount)',
  ...[
    'InvalidChannel',
    'ZeroDeposit',
    'DepositOverflow',
    'InvalidSignature',
    'NotReceiverAuthorizer',
    'NotAuthorizedToClaim',
    'NotAuthorizedToRefund',
    'ClaimExceedsCeiling',
    'ClaimExceedsBalance',
    'WithdrawalAlreadyPending',
    'WithdrawalNotPending',
    'NotAuthorizedToFinalizeWithdraw',
    'WithdrawDelayNotElapsed',
    'NothingToWithdraw',
    'WithdrawAmountExceedsAvailable',
    'WithdrawDelayOutOfRange',
    'EmptyBatch',
    'DepositCollectionFailed',
    'InvalidCollector',
    'InvalidRefundNonce',
    'ZeroRefund',
    'ReentrancyGuardReentrantCall',
    'ECDSAInvalidSignature',
    'OnlyX402BatchSettlement',
    'InvalidX402BatchSettlementAddress',
  ].map((name) => `error ${name}()`),
  'error ECDSAInvalidSignatureLength(uint256 length)',
  'error ECDSAInvalidSignatureS(bytes32 s)',
  'error SafeERC20FailedOperation(address token)',
])

/** What the OP stack's oracle of fees is asked. */
export const dataFeeAbi = new Interface([
  'function getL1FeeUpperBound(uint256 unsignedTxSize) view returns (uint256)',
])

/** What is asked of the token. Errors are those of tokens that have typed ones; USDC itself reverts with text. */
export const tokenAbi = new Interface([
  'function balanceOf(address account) view returns (uint256)',
  'function authorizationState(address authorizer, bytes32 nonce) view returns (bool)',
  'function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s)',
  'function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature)',
  'event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
  'error InsufficientBalance(address account, uint256 balance, uint256 needed)',
  'error AuthorizationNotYetValid(uint256 validAfter)',
  'error AuthorizationExpired(uint256 validBefore)',
  'error AuthorizationAlreadyUsed(address authorizer, bytes32 nonce)',
  'error CallerMustBePayee(address caller, address payee)',
  'error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)',
])
