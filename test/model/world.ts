/**
 * One buyer, one seller, one chain and a network that loses, repeats and reorders, driven by a seeded die.
 * `step` makes one random move and then checks every invariant; a violated one throws `Violation`.
 */
import type * as BuyerLedgerModule from '../../src/buyer/ledger.ts'
import type * as SellerLedgerModule from '../../src/seller/ledger.ts'
import type { Hex } from '../../src/wire/hex.ts'

export interface Rules {
  buyer: typeof BuyerLedgerModule
  seller: typeof SellerLedgerModule
}

export class Violation extends Error {}

interface Receipt {
  id: Hex
  charged: bigint
  cumulative: bigint
}
type Message =
  | {
      to: 'seller'
      kind: 'request'
      id: Hex
      amount: bigint
      voucher: bigint
      admitBySec: number
      lives: number
      orderly: boolean
    }
  | {
      to: 'seller'
      kind: 'status'
      ids: Hex[]
      proof: { cumulative: bigint; voucher: bigint } | null
      lives: number
    }
  | { to: 'seller'; kind: 'refund'; voucher: bigint; amount: bigint; epoch: number; lives: number }
  | { to: 'buyer'; kind: 'final'; receipt: Receipt; epoch: number }
  | { to: 'buyer'; kind: 'lost'; id: Hex; epoch: number }
  | { to: 'buyer'; kind: 'refunded'; asked: bigint; moved: bigint; epoch: number }

const limits = { maxExposure: 10_000n, maxUnresolved: 10_000n }
const minAmount = (a: bigint, b: bigint) => (a < b ? a : b)

export class World {
  nowSec = 1000
  chain = { balance: 0n, totalClaimed: 0n, withdrawing: 0n }
  seller: SellerLedgerModule.SellerLedger
  buyer: BuyerLedgerModule.BuyerLedger
  private closed = new Map<Hex, Receipt>()
  private backup: { ledger: SellerLedgerModule.SellerLedger; closed: Map<Hex, Receipt> } | null = null
  private wire: Message[] = []
  private asked = new Map<Hex, bigint>()
  private chargedOnce = new Set<Hex>()
  private everSigned = 0n
  private lostAtSec: number | null = null
  private restored = false
  private withdrew = false
  private floorSigned = 0n
  /** raised when the buyer loses its store: what was sent to the earlier buyer is not read by the later one */
  private epoch = 0
  private nextId = 1
  private refundInFlight = false
  readonly trace: string[] = []

  private readonly rules: Rules
  private readonly random: () => number
  private readonly faults: boolean
  /** The buyer also signs requests that its vouchers do not cover, and asks for refunds of what is spent. */
  private readonly cheats: boolean

  constructor(rules: Rules, random: () => number, options: { faults: boolean; cheats: boolean }) {
    this.rules = rules
    this.random = random
    this.faults = options.faults
    this.cheats = options.cheats
    this.seller = rules.seller.emptyLedger()
    this.buyer = { balance: 0n, charged: 0n, signed: 0n, proven: 0n, open: new Map() }
    this.deposit()
  }

  step(): void {
    const moves: [number, string, () => void][] = [
      [6, 'request', () => this.request()],
      [10, 'deliver', () => this.deliver()],
      [5, 'finish', () => this.finishOne()],
      [3, 'status', () => this.askStatus()],
      [1, 'deposit', () => this.deposit()],
      [1, 'claim', () => this.claim()],
      [1, 'refund', () => this.askRefund()],
      [2, 'tick', () => this.tick()],
      [1, 'meter', () => this.meter()],
    ]
    if (this.faults) {
      moves.push(
        [1, 'buyer crash', () => this.crashBuyer()],
        [1, 'seller crash', () => this.crashSeller()],
        [0.3, 'buyer lost store', () => this.loseBuyerStore()],
        [0.4, 'backup', () => this.takeBackup()],
        [0.3, 'restore', () => this.restore()],
        [0.3, 'withdraw', () => this.withdraw()],
        [0.5, 'finalize', () => this.finalizeWithdraw()],
      )
    }
    if (this.cheats)
      moves.push([4, 'cheat', () => this.cheat()], [1, 'greedy refund', () => this.greedyRefund()])
    let pick = this.random() * moves.reduce((sum, [weight]) => sum + weight, 0)
    const move = moves.find(([weight]) => (pick -= weight) < 0) ?? moves[0]!
    this.trace.push(move[1])
    move[2]()
    this.check()
  }

  private int(max: number): number {
    return Math.floor(this.random() * max)
  }

  private send(message: Message): void {
    this.wire.push(message)
  }

  private request(): void {
    if (this.lostAtSec !== null) return this.resync()
    const amount = BigInt(1 + this.int(20))
    const plan = this.rules.buyer.planVoucher(this.buyer, amount, limits)
    if (plan.kind !== 'voucher') return
    const id: Hex = `0x${(this.nextId++).toString(16)}`
    const admitBySec = this.nowSec + this.rules.seller.requestTtlSec
    this.rules.buyer.openRequest(this.buyer, id, { ceiling: amount, admitBySec, voucher: plan.amount })
    this.asked.set(id, amount)
    this.everSigned = plan.amount > this.everSigned ? plan.amount : this.everSigned
    this.send({
      to: 'seller',
      kind: 'request',
      id,
      amount,
      voucher: plan.amount,
      admitBySec,
      lives: 1 + this.int(3),
      orderly: !this.restored && !this.refundInFlight && !this.withdrew,
    })
  }

  private cheat(): void {
    const amount = BigInt(1 + this.int(60))
    const voucher = BigInt(this.int(Number(this.everSigned) + 30))
    const id: Hex = `0x${(this.nextId++).toString(16)}`
    this.asked.set(id, amount)
    if (voucher > this.everSigned) this.everSigned = voucher
    const admitBySec = this.nowSec + this.rules.seller.requestTtlSec
    this.send({ to: 'seller', kind: 'request', id, amount, voucher, admitBySec, lives: 1, orderly: false })
  }

  private greedyRefund(): void {
    if (this.refundInFlight) return
    this.refundInFlight = true
    const amount = this.chain.balance
    this.send({
      to: 'seller',
      kind: 'refund',
      voucher: this.seller.charged,
      amount,
      epoch: this.epoch,
      lives: 1,
    })
  }

  private deliver(): void {
    if (this.wire.length === 0) return
    const at = this.int(this.wire.length)
    const message = this.wire[at]!
    const repeated = message.to === 'seller' && --message.lives > 0 && this.faults
    if (!repeated) this.wire.splice(at, 1)
    // a lost refund is asked for again until the chain shows it: for the ledgers that is a slow one
    if (this.faults && !message.kind.startsWith('refund') && this.random() < 0.1) return
    if (message.to === 'seller') this.atSeller(message)
    else if (message.epoch === this.epoch) this.atBuyer(message)
  }

  private atSeller(message: Extract<Message, { to: 'seller' }>): void {
    const { seller } = this.rules
    if (message.kind === 'request') {
      const isNew = !this.seller.open.has(message.id) && !this.closed.has(message.id)
      const ask = { isNew, amount: message.amount, voucher: message.voucher, admitBySec: message.admitBySec }
      const verdict = seller.judgeOpenseed(this.seller, ask, this.nowSec)
      if (verdict.kind === 'admit') {
        if (this.chain.withdrawing > 0n) throw new Violation('admitted during a withdrawal')
        return seller.admitOpenseed(this.seller, message.id, ask)
      }
      const excused =
        verdict.reason === 'duplicate' || verdict.reason === 'expired' || verdict.reason === 'withdrawing'
      const orderly =
        !this.cheats && message.orderly && !this.restored && !this.refundInFlight && this.lostAtSec === null
      if (!excused && orderly && !this.withdrew && this.epoch === 0) {
        throw new Violation(`a correct buyer was refused: ${verdict.reason}`)
      }
      return this.send({ to: 'buyer', kind: 'lost', id: message.id, epoch: this.epoch })
    }
    if (message.kind === 'status') {
      if (message.proof !== null) {
        seller.adoptProof(this.seller, message.proof.cumulative, message.proof.voucher)
      }
      for (const id of message.ids) this.answerStatus(id)
      return
    }
    if (message.epoch !== this.epoch) return
    const verdict = seller.judgeRefund(this.seller, message.voucher, message.amount, 1n)
    if (verdict.kind !== 'refund') {
      return this.send({ to: 'buyer', kind: 'refunded', asked: message.amount, moved: 0n, epoch: this.epoch })
    }
    seller.beginRefund(this.seller, verdict.amount)
    const moved = minAmount(verdict.amount, this.chain.balance - this.chain.totalClaimed)
    this.chain.balance -= moved
    seller.endRefund(this.seller, this.chain.balance)
    this.send({ to: 'buyer', kind: 'refunded', asked: message.amount, moved, epoch: this.epoch })
  }

  private answerStatus(id: Hex): void {
    if (this.seller.open.has(id)) return
    const receipt = this.closed.get(id) ?? { id, charged: 0n, cumulative: this.seller.charged }
    this.closed.set(id, receipt)
    this.send({ to: 'buyer', kind: 'final', receipt, epoch: this.epoch })
  }

  private atBuyer(message: Extract<Message, { to: 'buyer' }>): void {
    const { buyer } = this.rules
    if (message.kind === 'final') {
      buyer.bookFinal(this.buyer, message.receipt.id, message.receipt.charged, message.receipt.cumulative)
    } else if (message.kind === 'lost') buyer.loseRequest(this.buyer, message.id)
    else {
      this.refundInFlight = false
      this.buyer.balance += message.asked - message.moved
    }
  }

  private finishOne(): void {
    const ids = [...this.seller.open.keys()]
    const id = ids[this.int(ids.length)]
    if (id === undefined) return
    const ceiling = this.seller.open.get(id)!.ceiling
    // an engine may overrun: the charge must be cut at the ceiling
    this.close(id, BigInt(this.int(Number(ceiling) + 3)))
  }

  private close(id: Hex, cost: bigint): void {
    const charged = this.rules.seller.finish(this.seller, id, cost)
    if (charged === null) throw new Violation('an open row could not be finished')
    if (this.chargedOnce.has(id) && !this.restored) throw new Violation('an id was charged twice')
    this.chargedOnce.add(id)
    const asked = this.asked.get(id)
    if (asked === undefined || charged > asked) throw new Violation('charged more than was asked')
    const receipt = { id, charged, cumulative: this.seller.charged }
    this.closed.set(id, receipt)
    this.send({ to: 'buyer', kind: 'final', receipt, epoch: this.epoch })
  }

  private askStatus(): void {
    if (this.lostAtSec !== null) return
    const ids = [...this.buyer.open.keys()].filter(() => this.random() < 0.6)
    const proof =
      this.buyer.proven > 0n ? { cumulative: this.buyer.proven, voucher: this.buyer.signed } : null
    this.send({ to: 'seller', kind: 'status', ids, proof, lives: 1 + this.int(2) })
  }

  private deposit(): void {
    const amount = BigInt(5 + this.int(200))
    this.chain.balance += amount
    this.rules.seller.adoptChain(this.seller, this.chain)
    this.buyer.balance += amount
  }

  private claim(): void {
    const amount = this.rules.seller.claimable(this.seller)
    if (amount > this.everSigned || amount > this.seller.signed)
      throw new Violation('claimed above the voucher')
    if (amount > this.chain.totalClaimed) this.chain.totalClaimed = amount
    this.rules.seller.adoptChain(this.seller, this.chain)
  }

  private askRefund(): void {
    if (this.lostAtSec !== null || this.refundInFlight || this.buyer.open.size > 0) return
    const amount = this.buyer.balance - this.rules.buyer.mirror(this.buyer)
    if (amount <= 0n || this.chain.withdrawing > 0n) return
    this.rules.buyer.askRefund(this.buyer, amount)
    this.refundInFlight = true
    this.send({
      to: 'seller',
      kind: 'refund',
      voucher: this.buyer.charged,
      amount,
      epoch: this.epoch,
      lives: 1,
    })
  }

  private withdraw(): void {
    const free = this.chain.balance - this.chain.totalClaimed
    if (this.chain.withdrawing > 0n || free <= 0n) return
    this.chain.withdrawing = free
    this.withdrew = true
    this.rules.seller.adoptChain(this.seller, this.chain)
    this.claim()
  }

  private finalizeWithdraw(): void {
    if (this.chain.withdrawing === 0n || this.seller.open.size > 0) return
    this.claim()
    this.chain.balance -= minAmount(this.chain.withdrawing, this.chain.balance - this.chain.totalClaimed)
    this.chain.withdrawing = 0n
    this.rules.seller.adoptChain(this.seller, this.chain)
    this.buyer.balance = minAmount(this.buyer.balance, this.chain.balance)
    if (!this.restored && this.chain.totalClaimed < this.seller.charged)
      throw new Violation('a withdrawal outran the claim')
  }

  private tick(): void {
    this.nowSec += this.int(60)
  }

  private meter(): void {
    for (const row of this.seller.open.values()) row.meter = minAmount(row.ceiling, row.meter + 1n)
  }

  private crashBuyer(): void {
    for (const id of this.buyer.open.keys()) this.rules.buyer.loseRequest(this.buyer, id)
  }

  private crashSeller(): void {
    for (const row of this.rules.seller.restart(this.seller, this.chain, this.nowSec))
      this.close(row.id, row.cost)
  }

  private loseBuyerStore(): void {
    if (this.refundInFlight || this.lostAtSec !== null || this.restored) return
    this.epoch += 1
    this.lostAtSec = this.nowSec
    this.buyer = {
      balance: this.chain.balance,
      charged: this.chain.totalClaimed,
      signed: 0n,
      proven: 0n,
      open: new Map(),
    }
  }

  private resync(): void {
    const snapshot = {
      charged: this.seller.charged,
      signed: this.seller.signed,
      open: [...this.seller.open].map(([id, row]) => ({ id, ceiling: row.ceiling })),
    }
    const times = { lostAtSec: this.lostAtSec!, ttlSec: this.rules.seller.requestTtlSec, nowSec: this.nowSec }
    const verdict = this.rules.buyer.judgeSnapshot(this.buyer, snapshot, times)
    if (verdict.kind !== 'adopt') return
    this.rules.buyer.adoptSnapshot(this.buyer, snapshot, this.nowSec)
    this.buyer.balance = this.chain.balance
    this.lostAtSec = null
  }

  private takeBackup(): void {
    this.backup = {
      ledger: { ...this.seller, open: new Map(structuredClone([...this.seller.open])) },
      closed: new Map(this.closed),
    }
  }

  private restore(): void {
    // a buyer that lost its store as well has nothing left to prove anything with
    if (this.backup === null || this.epoch > 0 || this.refundInFlight) return
    this.seller = { ...this.backup.ledger, open: new Map(structuredClone([...this.backup.ledger.open])) }
    this.closed = new Map(this.backup.closed)
    this.restored = true
    this.floorSigned = 0n
    for (const row of this.rules.seller.restart(this.seller, this.chain, this.nowSec))
      this.close(row.id, row.cost)
  }

  private check(): void {
    const { seller, rules } = this
    const truth = seller.charged + rules.seller.held(seller)
    if (truth > seller.signed) throw new Violation('served but unsigned')
    if (seller.signed > this.everSigned) throw new Violation('more is held signed than was ever signed')
    if (seller.withdrawing === 0n && !this.restored && truth > rules.seller.available(seller)) {
      throw new Violation('served above the balance')
    }
    if (seller.totalClaimed > seller.charged) throw new Violation('claimed above the charge')
    if (seller.signed < this.floorSigned) throw new Violation('the highest voucher fell')
    this.floorSigned = seller.signed
    if (this.lostAtSec === null && !this.restored && !this.cheats && this.buyer.charged > seller.charged) {
      throw new Violation('the buyer books more than the seller charged')
    }
    if (this.cheats) return
    if (this.lostAtSec === null && rules.buyer.mirror(this.buyer) < truth) {
      throw new Violation("the buyer's mirror is below the seller's truth")
    }
  }
}
