/** `openseed demo`: a chain, a registry, two sellers and a buyer on this machine; chats for money; an account of every unit. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import { startAnvil } from '../chain/anvil.ts'
import { openEscrow, type Escrow } from '../chain/escrow.ts'
import { deployLocal } from '../chain/local.ts'
import { openRpc } from '../chain/rpc.ts'
import type { Engine } from '../seller/engine/engine.ts'
import { findEngines, probeEngine } from '../seller/engine/probe.ts'
import { startTinyEngine, tinyModel } from '../seller/engine/tiny-engine.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Address } from '../wire/hex.ts'
import type { BuyerNode } from './buyer-node.ts'
import { chatAtOnce } from './demo-chats.ts'
import { demoTable, isBalanced, type DemoBooks, type DemoTable } from './demo-ledger.ts'
import {
  newWallet,
  startDemoBuyer,
  startDemoRegistry,
  startDemoSeller,
  type DemoSeller,
} from './demo-parties.ts'
import type { SellerNode } from './seller-node.ts'

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
const chatsAtOnce = 6
const waitMs = 20_000

/** Throws the signal's reason when it is interrupted; everything that was started is gone then. */
export async function runDemo(options: DemoOptions, io: DemoIo): Promise<void> {
  const startedMs = performance.now()
  const { signal, note } = io
  await using stack = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'openseed-demo-'))
  stack.defer(() => rm(home, { recursive: true, force: true }))
  const wallets = { payer: newWallet(), authorizer: newWallet() }
  const cheap: DemoSeller = { name: 'cheap', signer: newWallet(), payTo: newWallet(), priceOut: 2_000_000n }
  const dear: DemoSeller = { ...cheap, name: 'dear', signer: newWallet(), payTo: newWallet() }
  dear.priceOut = 3_000_000n

  note('Starting a chain of its own (anvil) and deploying the contracts ...')
  const anvil = stack.use(await startAnvil({ chainId }))
  signal.throwIfAborted()
  const network = await deployLocal(anvil.url, {
    chainId,
    canonical: true,
    funded: [
      { address: wallets.payer.address, usdc: walletUsdc },
      ...[cheap, dear].map(({ signer }) => ({ address: signer.address, eth: oneEther })),
    ],
  })
  const rpc = stack.use(openRpc({ urls: [anvil.url], chainId, timeoutMs: 10_000 }))
  const escrow = openEscrow(rpc, network)

  signal.throwIfAborted()
  const registry = stack.use(await startDemoRegistry({ network, log: silentLog }))
  const engine = await openEngine(stack, io)
  const model = engine.models[0]?.id ?? tinyModel
  const world = {
    folder: home,
    network,
    rpcUrls: [anvil.url],
    registry: registry.url,
    log: silentLog,
  }
  const first = await startDemoSeller(world, cheap, engine)
  stack.defer(() => first.close(0))
  const second = await startDemoSeller(world, dear, engine)
  stack.defer(() => second.close(0))
  const buyer = await startDemoBuyer(world, wallets)
  stack.defer(() => buyer.close(0))
  note(`Registry at ${registry.url}; nobody is told any other address`)
  note(`Seller at ${first.url}, paid to ${cheap.payTo.address}`)
  note(`Seller at ${second.url}, paid to ${dear.payTo.address}, half as dear again`)
  note(`Buyer at ${buyer.url}/v1, with $${walletUsdc / 1_000_000n} in test USDC and no ETH`)
  await until(
    () => buyer.market.listModels().some(({ id, sellers }) => id === model && sellers === 2),
    'The buyer did not find both sellers.',
    signal,
  )

  const chats = { baseUrl: `${buyer.url}/v1`, model, count: chatsAtOnce, note, signal }
  note(`${chatsAtOnce} streamed chats at once, through the buyer, with the openai client ...`)
  await chatAtOnce(chats)
  await first.abandon()
  note(`The cheap seller dies without a word. ${chatsAtOnce} chats more ...`)
  await chatAtOnce({ ...chats, from: chatsAtOnce })

  note('It comes back to claim what it earned. Settling on chain, and refunding what is left ...')
  const again = await startDemoSeller(world, cheap, engine, Number(new URL(first.url).port))
  stack.defer(() => again.close(0))
  await until(
    () => buyer.book.all().every(({ requests, deposit }) => requests.size === 0 && deposit === null),
    'A request has no known end.',
    signal,
  )
  const payouts = [cheap, dear].map(({ payTo }) => payTo.address)
  const books = await settleAll(buyer, [again, second], escrow, { payer: wallets.payer.address, payouts })
  io.report({
    balanced: isBalanced(books),
    buyerPaid: books.buyerPaid,
    sellerEarned: books.sellerEarned,
    chainMoved: books.chainMoved,
    requests: 2 * chatsAtOnce,
    durationMs: Math.round(performance.now() - startedMs),
    table: demoTable(books),
  })
  if (options.keep) await keepRunning(buyer, model, io)
}

async function until(condition: () => boolean, failure: string, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + waitMs
  while (!condition()) {
    if (performance.now() > endMs) throw new OpenSeedError('internal_error', { message: failure })
    await sleep(20, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
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

/** Claims, pays out, refunds; then asks the buyer, the sellers and the chain what they hold. */
async function settleAll(
  buyer: BuyerNode,
  sellers: readonly SellerNode[],
  escrow: Escrow,
  { payer, payouts }: { payer: Address; payouts: readonly Address[] },
): Promise<DemoBooks> {
  const channels = buyer.book.all()
  const deposited = sum(channels.map(({ ledger }) => ledger.balance))
  for (const seller of sellers) await seller.settle()
  let refunded = 0n
  for (const channel of channels) {
    const spare = channel.ledger.balance > channel.ledger.charged
    if (spare) refunded += (await buyer.refund(channel.id, undefined)).amount
  }
  const totals = await Promise.all(sellers.map((seller) => seller.store.read('totals')))
  const paidOut = await Promise.all(payouts.map((address) => escrow.tokenBalance(address)))
  const onChain = await escrow.channels(channels.map(({ id }) => id))
  return {
    buyerPaid: sum(channels.map(({ ledger }) => ledger.charged)),
    sellerEarned: sum(totals.map(({ charged }) => charged)),
    chainMoved: sum(paidOut),
    deposited,
    refunded,
    inEscrow: sum(onChain.map(({ balance, totalClaimed }) => balance - totalClaimed)),
    walletBefore: walletUsdc,
    walletAfter: await escrow.tokenBalance(payer),
  }
}

const sum = (amounts: readonly Usdc[]): Usdc => amounts.reduce((total, amount) => total + amount, 0n)

async function keepRunning(buyer: BuyerNode, model: string, { note, signal }: DemoIo): Promise<void> {
  note('')
  note(`Still running. Base URL: ${buyer.url}/v1   model: ${model}   Ctrl-C ends it.`)
  note(`  export OPENAI_BASE_URL=${buyer.url}/v1 OPENAI_API_KEY=openseed`)
  if (!signal.aborted) await once(signal, 'abort')
}
