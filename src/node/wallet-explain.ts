/** `openseed wallet explain`: where every unit is and when it unlocks, with the buyer running or not, the chain in reach or not. */
import { OpenSeedError } from '../base/errors.ts'
import { parsePendingDeposit, type PendingDeposit } from '../buyer/pending-deposit.ts'
import type { ChannelOnChain } from '../chain/escrow.ts'
import { openEscrow } from '../chain/escrow.ts'
import { readHoldings } from '../chain/holdings.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Config } from '../config/config.ts'
import { openReader } from '../store/reader.ts'
import type { BuyerExactRow } from '../store/buyer-exact-operations.ts'
import type { BuyerChannelRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import { openDigests } from '../wire/digests.ts'
import { checksummed, type Address, type Hex } from '../wire/hex.ts'
import { parseRunning } from './buyer-control.ts'
import { callControl } from './control.ts'
import { openKeystore } from './keystore.ts'
import { readSeen, writeSeen, type SeenWallet } from './wallet-seen.ts'
import { splitChannel, sumUp, type ChannelParts, type WalletTotals } from './wallet-sums.ts'

export interface ExplainedChannel extends ChannelParts {
  id: Hex
  /** the seller's URL, or the wallet it is paid at when nobody knows where it is */
  counterparty: string
  state: BuyerChannelRow['state']
  /** deposits less refunds and withdrawals: the sum of the parts */
  balance: Usdc
  /** signed but not charged: what a dishonest seller could still claim */
  exposure: Usdc
  /** what the seller would give back when asked now */
  refundable: Usdc
  /** when what is being withdrawn can be had; null when nothing is, or the chain never told */
  unlocksAtSec: number | null
  /** signed, outcome unknown; still in the wallet unless it `arrived` */
  deposit: { amount: Usdc; untilSec: number; arrived: boolean } | null
}

/** Signed for one request, outcome unknown: still in the wallet, until it is taken or can be taken no more. */
export interface ExplainedTransfer {
  nonce: Hex
  counterparty: string
  payTo: string
  amount: Usdc
  /** free again then, if it was not used */
  unlocksAtSec: number
}

export interface WalletExplained {
  address: string
  /** `chain`: all of one block. `memory`: as the chain was last seen, corrected by what the database knows since. */
  source: 'chain' | 'memory'
  /** when the chain was seen; null when it never was */
  seenAtMs: number | null
  block: number | null
  usdc: Usdc | null
  /** of `usdc`, what deposits on their way may take */
  depositing: Usdc
  /** of `usdc`, what single transfers whose outcome is unknown may take */
  paying: Usdc
  wei: bigint | null
  channels: ExplainedChannel[]
  /** what `paying` consists of */
  transfers: ExplainedTransfer[]
  totals: WalletTotals | null
}

const chainWithinMs = 3000

/** Needs no password. Throws `wallet_missing`, `store_unavailable`. */
export async function explainWallet(
  config: Config,
  nowMs: number,
  signal: AbortSignal,
): Promise<WalletExplained> {
  const { payer } = await openKeystore(config.paths.keystore).addresses()
  if (payer === undefined) throw walletMissing(config.paths.keystore)
  const running = await askRunning(config, signal)
  const books = readBooks(config)
  const chain = await readChain(config, payer, books)
  if (chain === null) return fromMemory(payer, books, running, await readSeen(config.paths.buyer, payer))
  // What cannot be kept can still be told.
  await writeSeen(config.paths.buyer, seenOf(payer, books.rows, chain, nowMs)).catch(() => undefined)
  return fromChain(payer, books, running, chain, nowMs)
}

interface Books {
  rows: Row[]
  transfers: Transfer[]
}
type Transfer = Pick<BuyerExactRow, 'nonce' | 'sellerUrl' | 'payTo' | 'amount' | 'validBeforeSec'>
type Row = Omit<BuyerChannelRow, 'deposit'> & { deposit: PendingDeposit | null }
type Running = ReadonlyMap<string, Usdc>
type ChainFacts = NonNullable<Awaited<ReturnType<typeof readChain>>>

function fromChain(
  payer: Address,
  { rows, transfers }: Books,
  running: Running,
  chain: ChainFacts,
  nowMs: number,
): WalletExplained {
  const { head, usdc, wei, used } = chain
  const channels = rows.map((row, at) => {
    const onChain = chain.channels[at]!
    return explainChannel(row, running, onChain.balance, onChain, chain.arrived.has(row.id))
  })
  const waiting = transfers.filter(({ nonce }) => !used.has(nonce))
  return {
    address: checksummed(payer),
    source: 'chain',
    seenAtMs: nowMs,
    block: head.number,
    ...walletParts(usdc, channels, waiting, head.timestampSec),
    wei,
    channels,
  }
}

function fromMemory(
  payer: Address,
  { rows, transfers }: Books,
  running: Running,
  seen: SeenWallet | null,
): WalletExplained {
  const last = new Map(seen?.channels.map((channel) => [channel.id, channel]))
  // What the database knows to have moved between wallet and channels since the chain was seen moved there.
  let usdc = seen?.usdc ?? null
  const channels = rows.map((row) => {
    const before = last.get(row.id)
    const balance = row.balance + row.refunding
    if (usdc !== null) usdc += (before?.balance ?? 0n) - balance
    return explainChannel(row, running, balance, before ?? null, false)
  })
  return {
    address: checksummed(payer),
    source: 'memory',
    seenAtMs: seen?.atMs ?? null,
    block: seen?.block ?? null,
    // More went into channels than was seen there: somebody filled the wallet meanwhile.
    ...walletParts(usdc !== null && usdc >= 0n ? usdc : null, channels, transfers, 0),
    wei: seen?.wei ?? null,
    channels,
  }
}

function walletParts(
  usdc: Usdc | null,
  channels: readonly ExplainedChannel[],
  transfers: readonly Transfer[],
  chainSec: number,
): Pick<WalletExplained, 'usdc' | 'depositing' | 'paying' | 'transfers' | 'totals'> {
  const deposits = channels.flatMap(({ deposit }) => (deposit === null || deposit.arrived ? [] : [deposit]))
  const mayTake = (promises: readonly { amount: Usdc }[]) =>
    promises.reduce((sum, { amount }) => sum + amount, 0n)
  const alive = deposits.filter(({ untilSec }) => untilSec >= chainSec)
  const open = transfers.map(explainTransfer).filter(({ unlocksAtSec }) => unlocksAtSec >= chainSec)
  const depositing = usdc === null ? mayTake(alive) : min(mayTake(alive), usdc)
  const paying = usdc === null ? mayTake(open) : min(mayTake(open), usdc - depositing)
  const wallet = usdc === null ? null : { usdc, promised: depositing + paying }
  return { usdc, depositing, paying, transfers: open, totals: sumUp(wallet, channels) }
}

const explainTransfer = ({
  nonce,
  sellerUrl,
  payTo,
  amount,
  validBeforeSec,
}: Transfer): ExplainedTransfer => ({
  nonce,
  counterparty: sellerUrl,
  payTo: checksummed(payTo),
  amount,
  unlocksAtSec: validBeforeSec,
})

function explainChannel(
  row: Row,
  running: Running,
  balance: Usdc,
  onChain: Omit<ChannelOnChain, 'refundNonce' | 'balance'> | null,
  arrived: boolean,
): ExplainedChannel {
  const open = (row.openRequests ?? []).reduce((sum, { ceiling }) => sum + ceiling, 0n)
  const runs = min(running.get(row.id) ?? 0n, open)
  const parts = splitChannel({
    balance,
    charged: row.charged,
    chain: onChain,
    running: runs,
    lost: open - runs,
    refunding: row.refunding,
  })
  const initiatedAtSec = onChain?.withdrawInitiatedAtSec ?? 0
  const isAskable = row.state === 'open' || row.state === 'distrusted'
  return {
    id: row.id,
    counterparty: row.sellerUrl === '' ? checksummed(row.config.receiver) : row.sellerUrl,
    state: initiatedAtSec > 0 && row.state === 'open' ? 'withdrawing' : row.state,
    balance,
    ...parts,
    exposure: row.signed > row.charged ? row.signed - row.charged : 0n,
    refundable: isAskable && open === 0n && row.refunding === 0n && row.deposit === null ? parts.free : 0n,
    unlocksAtSec: initiatedAtSec > 0 ? initiatedAtSec + row.config.withdrawDelay : null,
    deposit:
      row.deposit === null
        ? null
        : { amount: row.deposit.amount, untilSec: row.deposit.authorization.validBefore, arrived },
  }
}

function readBooks({ paths }: Config): Books {
  using reader = openReader(`${paths.buyer}/buyer.db`, 'buyer')
  if (reader === null) return { rows: [], transfers: [] }
  const rows = reader.read('loadChannels').map((row) => ({
    ...row,
    deposit: row.deposit === null ? null : parsePendingDeposit(row.deposit),
  }))
  return { rows, transfers: reader.read('exactUnresolved') }
}

/** Only the process that runs them knows which requests still run; without it all that are open are unresolved. */
async function askRunning({ paths }: Config, signal: AbortSignal): Promise<Running> {
  try {
    const answer = await callControl(paths.buyer, 'running', {}, signal)
    return answer === null ? new Map() : parseRunning(answer.value)
  } catch {
    signal.throwIfAborted()
    return new Map()
  }
}

/** Null when no RPC answers in time. */
async function readChain({ network }: Config, payer: Address, { rows, transfers }: Books) {
  const { terms, rpcUrls } = network
  await using rpc = openRpc({ urls: [...rpcUrls], chainId: terms.chainId, timeoutMs: chainWithinMs })
  const digests = openDigests(terms)
  const deposits = new Map(
    rows.flatMap(({ id, deposit }) =>
      deposit === null ? [] : [[id, digests.depositNonce(id, deposit.authorization.salt)] as const],
    ),
  )
  const nonces = [...deposits.values(), ...transfers.map(({ nonce }) => nonce)]
  try {
    const ids = rows.map(({ id }) => id)
    const holdings = await readHoldings(openEscrow(rpc, terms), payer, { ids, nonces })
    const used = new Set(nonces.filter((_, at) => holdings.used[at]))
    const arrived = new Set([...deposits].flatMap(([id, nonce]) => (used.has(nonce) ? [id] : [])))
    return { ...holdings, used, arrived }
  } catch {
    return null
  }
}

function seenOf(payer: Address, rows: readonly Row[], chain: ChainFacts, atMs: number): SeenWallet {
  const { head, usdc, wei } = chain
  const channels = rows.map(({ id }, at) => {
    const { balance, totalClaimed, withdrawAmount, withdrawInitiatedAtSec } = chain.channels[at]!
    return { id, balance, totalClaimed, withdrawAmount, withdrawInitiatedAtSec }
  })
  return { wallet: payer, block: head.number, atMs, usdc, wei, channels }
}

const walletMissing = (folder: string) =>
  new OpenSeedError('wallet_missing', {
    message: `There is no wallet in ${folder} yet.`,
    hint: 'openseed wallet create',
  })

const min = (a: Usdc, b: Usdc): Usdc => (a < b ? a : b)
