/** `openseed demo`: a chain, a seller and a buyer on this machine; chats for money; and an account of every unit. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog, type Log } from '../base/log.ts'
import { startAnvil } from '../chain/anvil.ts'
import { openEscrow, type Escrow } from '../chain/escrow.ts'
import { deployLocal } from '../chain/local.ts'
import { openRpc } from '../chain/rpc.ts'
import { networks } from '../config/networks.ts'
import type { Engine } from '../seller/engine/engine.ts'
import { findEngines, probeEngine } from '../seller/engine/probe.ts'
import { startTinyEngine, tinyModel } from '../seller/engine/tiny-engine.ts'
import type { Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import { bytesToHex, type Address, type Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { startBuyerNode, type BuyerNode } from './buyer-node.ts'
import { chatAtOnce } from './demo-chats.ts'
import { demoTable, isBalanced, type DemoBooks, type DemoTable } from './demo-ledger.ts'
import { startSellerNode, type SellerNode } from './seller-node.ts'

export interface DemoOptions {
  /** leave it running with a ready base URL until the signal */
  keep: boolean
}

export interface DemoIo {
  note: (text: string) => void
  /** called once, when the books are closed; with `keep` it goes on running after that */
  report: (result: DemoResult) => void
  signal: AbortSignal
}

/** Amounts in atomic USDC. */
export interface DemoResult {
  balanced: boolean
  buyerPaid: Usdc
  sellerEarned: Usdc
  chainMoved: Usdc
  requests: number
  durationMs: number
  table: DemoTable
}

const chainId = 31_337
const walletUsdc = 10_000_000n
const oneEther = 10n ** 18n
const chats = 12

/** Throws the signal's reason when it is interrupted; everything that was started is gone then. */
export async function runDemo(options: DemoOptions, io: DemoIo): Promise<void> {
  const startedMs = performance.now()
  await using stack = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'openseed-demo-'))
  stack.defer(() => rm(home, { recursive: true, force: true }))
  const wallets = { payer: newKey(), authorizer: newKey(), seller: newKey(), payTo: newKey() }

  io.note('Starting a chain of its own (anvil) and deploying the contracts ...')
  const anvil = stack.use(await startAnvil({ chainId }))
  io.signal.throwIfAborted()
  const network = await deployLocal(anvil.url, {
    chainId,
    canonical: true,
    funded: [
      { address: wallets.payer.address, usdc: walletUsdc },
      { address: wallets.seller.address, eth: oneEther },
    ],
  })
  const rpc = stack.use(openRpc({ urls: [anvil.url], chainId, timeoutMs: 10_000 }))
  const escrow = openEscrow(rpc, network)

  io.signal.throwIfAborted()
  const engine = await openEngine(stack, io)
  const chain = { folder: home, network, rpcUrls: [anvil.url], log: silentLog }
  const seller = await startDemoSeller(chain, wallets, engine)
  stack.defer(() => seller.close(0))
  const buyer = await startDemoBuyer(chain, wallets, seller.url)
  stack.defer(() => buyer.close(0))
  io.note(`Seller at ${seller.url}, paid to ${wallets.payTo.address}`)
  io.note(`Buyer at ${buyer.url}/v1, with $${walletUsdc / 1_000_000n} in test USDC and no ETH`)

  io.note(`${chats} streamed chats at once, through the buyer, with the openai client ...`)
  const model = engine.models[0]?.id ?? tinyModel
  await chatAtOnce({ baseUrl: `${buyer.url}/v1`, model, count: chats, note: io.note, signal: io.signal })

  io.note('Settling on chain, and refunding what is left ...')
  const books = await settleAll(buyer, seller, escrow, wallets)
  io.report({
    balanced: isBalanced(books),
    buyerPaid: books.buyerPaid,
    sellerEarned: books.sellerEarned,
    chainMoved: books.chainMoved,
    requests: chats,
    durationMs: Math.round(performance.now() - startedMs),
    table: demoTable(books),
  })
  if (options.keep) await keepRunning(buyer, model, io)
}

interface Wallet {
  key: Hex
  address: Address
}

interface Wallets {
  payer: Wallet
  authorizer: Wallet
  seller: Wallet
  payTo: Wallet
}

function newKey(): Wallet {
  const key = bytesToHex(randomBytes(32))
  return { key, address: curve.addressOf(key) }
}

interface DemoChain {
  folder: string
  network: NetworkTerms
  rpcUrls: string[]
  log: Log
}

/** A real engine of this machine when one answers, else the built-in one. */
async function openEngine(stack: AsyncDisposableStack, io: DemoIo): Promise<Engine> {
  const [found] = (await findEngines(io.signal)).filter(({ models }) => models.length > 0)
  if (found !== undefined) {
    io.note(`Engine: ${found.kind} at ${found.baseUrl}`)
    return found
  }
  const tiny = stack.use(await startTinyEngine({ port: 0 }))
  io.note(`Engine: none found, so the built-in text generator "${tinyModel}" stands in for one`)
  return probeEngine(tiny.url, io.signal)
}

function startDemoSeller(chain: DemoChain, { seller, payTo }: Wallets, engine: Engine): Promise<SellerNode> {
  return startSellerNode({
    ...chain,
    folder: join(chain.folder, 'seller'),
    confirmation: networks.local.confirmation,
    key: seller.key,
    payTo: payTo.address,
    listen: { host: '127.0.0.1', port: 0 },
    engines: [engine],
    pricesOf: () => ({ priceIn: 500_000n, priceCached: 250_000n, priceOut: 2_000_000n, fixedPrice: 0n }),
    maxConcurrency: chats,
    withdrawDelaySec: 900,
    minDeposit: 100_000n,
    settle: { threshold: 1_000_000_000n, intervalMs: 3_600_000 },
    maxBodyBytes: 32 * 1024 * 1024,
    firstByteTimeoutMs: 120_000,
    idleTimeoutMs: 60_000,
  })
}

function startDemoBuyer(
  chain: DemoChain,
  { payer, authorizer }: Wallets,
  seller: string,
): Promise<BuyerNode> {
  return startBuyerNode({
    ...chain,
    folder: join(chain.folder, 'buyer'),
    confirmation: networks.local.confirmation,
    keys: { payer: payer.key, authorizer: authorizer.key },
    sellers: [seller],
    caps: {
      maxPerRequest: 50_000n,
      maxDepositPerSeller: 2_000_000n,
      maxPerDay: 5_000_000n,
      maxExposure: 1_000_000n,
      maxUnresolved: 250_000n,
    },
    listen: { host: '127.0.0.1', port: 0 },
    maxBodyBytes: 32 * 1024 * 1024,
    firstByteTimeoutMs: 120_000,
    idleTimeoutMs: 60_000,
  })
}

/** Claims, pays out, refunds; then asks the buyer, the seller and the chain what they hold. */
async function settleAll(
  buyer: BuyerNode,
  seller: SellerNode,
  escrow: Escrow,
  { payer, payTo }: Wallets,
): Promise<DemoBooks> {
  const channels = buyer.book.all()
  const deposited = channels.reduce((sum, { ledger }) => sum + ledger.balance, 0n)
  await seller.settle()
  let refunded = 0n
  for (const channel of channels) {
    const spare = channel.ledger.balance > channel.ledger.charged
    if (spare) refunded += (await buyer.refund(channel.id, undefined)).amount
  }
  const onChain = await escrow.channels(channels.map(({ id }) => id))
  return {
    buyerPaid: channels.reduce((sum, { ledger }) => sum + ledger.charged, 0n),
    sellerEarned: (await seller.store.read('totals')).charged,
    chainMoved: await escrow.tokenBalance(payTo.address),
    deposited,
    refunded,
    inEscrow: onChain.reduce((sum, { balance, totalClaimed }) => sum + balance - totalClaimed, 0n),
    walletBefore: walletUsdc,
    walletAfter: await escrow.tokenBalance(payer.address),
  }
}

async function keepRunning(buyer: BuyerNode, model: string, { note, signal }: DemoIo): Promise<void> {
  note('')
  note(`Still running. Base URL: ${buyer.url}/v1   model: ${model}   Ctrl-C ends it.`)
  note(`  export OPENAI_BASE_URL=${buyer.url}/v1 OPENAI_API_KEY=openseed`)
  if (!signal.aborted) await once(signal, 'abort')
}
