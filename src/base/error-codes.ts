/**
 * The one registry of error codes. A code is stable: programs match on it, in HTTP bodies, CLI output and docs.
 * `status` is the HTTP status a gateway answers with, `exit` the CLI's exit code (docs/errors.md lists them),
 * `type` the OpenAI error type, `retryable` whether the same call may succeed later without anyone acting.
 */
export interface ErrorMeaning {
  status: number
  exit: number
  type: string
  retryable: boolean
  meaning: string
}

const invalid = (status: number, meaning: string, exit = 1): ErrorMeaning => ({
  status,
  exit,
  type: 'invalid_request_error',
  retryable: false,
  meaning,
})
const server = (status: number, meaning: string, exit = 1): ErrorMeaning => ({
  status,
  exit,
  type: 'server_error',
  retryable: true,
  meaning,
})
const payment = (meaning: string): ErrorMeaning => ({
  status: 402,
  exit: 7,
  type: 'insufficient_quota',
  retryable: false,
  meaning,
})

/** Exit codes: 0 ok, 1 failure, 2 usage, 3 config, 4 wallet, 5 no seller, 6 network, 7 payment refused, 8 engine down, 130 interrupted. */
export const errorCodes = {
  balance_insufficient: payment('The wallet holds less USDC than the deposit needs.'),
  binding_missing: invalid(
    400,
    'The payout wallet has not signed for this node, or its word has run out.',
    3,
  ),
  body_too_large: {
    ...invalid(413, 'The request body is larger than the limit.'),
    type: 'request_too_large',
  },
  budget_exceeded: payment('The request would pass a configured spending cap.'),
  chain_mismatch: server(
    503,
    'The RPC serves another chain, or other contract code, than the network preset.',
    6,
  ),
  chain_refused: {
    ...server(502, 'The chain refused a call or a transaction before it was mined.', 6),
    retryable: false,
  },
  chain_stale: server(
    503,
    'The newest block is too old, or the RPCs disagree about it; no new paid work is taken.',
    6,
  ),
  chain_unavailable: server(503, 'No RPC answered in time.', 6),
  channel_not_found: invalid(404, 'No such channel is known here.'),
  channel_underfunded: payment('The channel holds less than the request may cost.'),
  charge_refused: payment(
    'The seller charged what its signed offer does not explain; nothing more is paid to it.',
  ),
  clock_skewed: server(503, 'The clock differs from the chain by more than five minutes.', 3),
  config_invalid: invalid(400, 'A setting has a value that cannot be used.', 3),
  confirmation_needed: invalid(400, 'The command moves money or secrets and was not confirmed.', 2),
  dht_unreachable: server(502, 'No server of the DHT answered in time.', 6),
  engine_failed: server(502, 'The inference engine failed.', 8),
  engine_stream_broken: server(502, 'The inference engine stopped in the middle of its answer.', 8),
  engine_timeout: server(504, 'The inference engine did not answer in time.', 8),
  engine_unavailable: server(502, 'The inference engine cannot be reached.', 8),
  gas_insufficient: server(503, 'The key that pays gas holds too little of the native coin.', 4),
  home_locked: invalid(409, 'Another openseed process uses this home for the same role.', 3),
  identity_in_use: invalid(409, 'Another node announces itself with the same key.', 3),
  internal_error: server(500, 'A bug in openseed.'),
  invalid_json: invalid(400, 'The body is not a JSON object.'),
  invalid_message: invalid(400, 'A protocol message is malformed.'),
  invalid_request: invalid(400, 'A request field has a value that cannot be used.'),
  invalid_signature: invalid(400, 'A signature is malformed or by another key.'),
  method_not_allowed: invalid(405, 'The route does not know this method.'),
  model_not_found: invalid(404, 'No seller in reach offers this model.', 5),
  money_outcome_unknown: payment(
    'Earlier payments to this seller have unknown outcomes; nothing more is signed until they are resolved.',
  ),
  no_seller: server(503, 'No seller can take the request now.', 5),
  not_found: invalid(404, 'No such route.'),
  origin_forbidden: invalid(
    403,
    'The request comes from a web page or a host name that may not use this server.',
  ),
  pairing_refused: invalid(403, 'The pairing code is wrong, was used, or has run out.'),
  payment_refused: payment('The seller refused the payment.'),
  payment_required: payment('The request needs a payment; the PAYMENT-REQUIRED header has the terms.'),
  port_in_use: invalid(409, 'The port is taken.', 3),
  rate_limit_exceeded: { ...server(429, 'Every slot is busy.', 5), type: 'rate_limit_exceeded' },
  record_refused: invalid(422, 'A record is well-formed but may not be published: its details say why.'),
  registry_failed: server(502, 'The registry answered outside the protocol.', 6),
  registry_unreachable: server(502, 'The registry cannot be reached or did not answer in time.', 6),
  request_aborted: { ...invalid(499, 'The client went away before the answer was complete.'), exit: 130 },
  request_conflict: invalid(409, 'The request id was used for other bytes.'),
  request_in_progress: invalid(409, 'The same request is running.'),
  seller_failed: server(502, 'The seller answered outside the protocol.', 6),
  seller_not_found: invalid(404, 'No seller of that name is known.', 5),
  seller_stream_broken: server(502, 'The seller stopped in the middle of its answer.', 6),
  seller_timeout: server(504, 'The seller did not answer in time.', 6),
  seller_unreachable: server(502, 'The seller cannot be reached.', 6),
  settlement_overdue: server(
    503,
    'The seller could not claim earlier charges for too long; it takes no new work on the channel.',
  ),
  shutting_down: server(503, 'The process is shutting down.'),
  store_conflict: invalid(409, 'No such row is stored, or an invariant forbids the change.'),
  store_newer: invalid(500, 'The database was written by a newer openseed.', 3),
  store_unavailable: server(503, 'The database cannot be written (disk full, or damaged).'),
  tower_unknown: invalid(403, 'The seller is not paired with this watchtower.'),
  transaction_failed: { ...server(502, 'A transaction reverted on chain.', 7), retryable: false },
  usage: invalid(400, 'The command line is not understood.', 2),
  wallet_exists: invalid(409, 'A wallet is already there.', 4),
  wallet_locked: invalid(401, 'The wallet needs its password.', 4),
  wallet_missing: invalid(401, 'There is no wallet yet.', 4),
  wallet_password_wrong: invalid(401, 'The password does not open the wallet.', 4),
} as const satisfies Record<string, ErrorMeaning>

/** Every code there is. */
export type ErrorCode = keyof typeof errorCodes
