/** A stock client (no openseed extension) on one channel: several calls in flight, replies lost, a seller that restarts. */
import { Violation, type Rules } from './world.ts'
import type { Hex } from '../../src/wire/hex.ts'

interface Call {
  id: Hex
  amount: bigint
  voucher: bigint
  streamed: boolean
  corrected: boolean
}

export class StockWorld {
  private readonly rules: Rules
  private readonly random: () => number
  private readonly lossless: boolean
  private readonly chain = { balance: 100_000n, totalClaimed: 0n, withdrawing: 0n }
  seller
  private base = 0n
  private signed = 0n
  /** the cumulative that the seller last stated on the wire */
  private stated = 0n
  private nextId = 1
  private waiting: Call[] = []
  private running = new Map<Hex, Call>()
  corrections = 0

  constructor(rules: Rules, random: () => number, lossless: boolean) {
    this.rules = rules
    this.random = random
    this.lossless = lossless
    this.seller = rules.seller.emptyLedger()
    rules.seller.adoptChain(this.seller, this.chain)
  }

  step(): void {
    const dice = this.random()
    if (dice < 0.4) this.call()
    else if (dice < 0.8) this.finishOne()
    else if (dice < 0.9) this.retry()
    else if (dice < 0.93 && !this.lossless) this.restart()
    else if (dice < 0.95 && !this.lossless) this.base += 5n // a client that is ahead of what it was told
    this.check()
  }

  private call(): void {
    if (this.lossless && (this.running.size > 0 || this.waiting.length > 0)) return
    const amount = BigInt(1 + Math.floor(this.random() * 20))
    const id: Hex = `0x${(this.nextId++).toString(16)}`
    this.offer({ id, amount, voucher: this.base + amount, streamed: this.random() < 0.5, corrected: false })
  }

  private offer(call: Call): void {
    const { seller } = this.rules
    if (call.voucher > this.signed) this.signed = call.voucher
    const verdict = seller.judgeStock(this.seller, call)
    if (verdict.kind === 'wait') return void this.waiting.push(call)
    if (verdict.kind === 'correct') {
      this.corrections += 1
      seller.tellStated(this.seller, verdict.stated)
      this.stated = verdict.stated
      if (verdict.stated <= this.signed) this.base = verdict.stated
      if (call.corrected) return
      return this.offer({ ...call, corrected: true, voucher: this.base + call.amount })
    }
    if (verdict.kind === 'refuse') return
    if (call.voucher > this.stated + call.amount) {
      throw new Violation('a stock client was let sign above what it was told')
    }
    this.stated = call.voucher - call.amount
    seller.admitStock(this.seller, call.id, call)
    this.running.set(call.id, call)
    if (call.streamed) this.reply(call)
  }

  private finishOne(): void {
    const [id, call] = [...this.running][Math.floor(this.random() * this.running.size)] ?? []
    if (id === undefined || call === undefined) return
    this.running.delete(id)
    this.rules.seller.finish(this.seller, id, BigInt(Math.floor(this.random() * Number(call.amount + 1n))))
    if (!call.streamed) this.reply(call)
    this.retry()
  }

  private reply(call: Call): void {
    const { chargedAmount, cumulative } = this.rules.seller.tell(this.seller, call.amount)
    if (chargedAmount < 0n || chargedAmount > call.amount)
      throw new Violation('a stock client is told more than its ceiling')
    const agreed = this.stated === this.base
    this.stated = cumulative
    if (!this.lossless && this.random() < 0.1) return // lost
    // the stock client adopts only what adds up with its own base
    if (this.base + chargedAmount === cumulative) this.base = cumulative
    else if (agreed && this.base === call.voucher - call.amount) {
      throw new Violation('what a stock client is told does not add up')
    }
  }

  private retry(): void {
    const calls = this.waiting
    this.waiting = []
    for (const call of calls) this.offer(call)
  }

  private restart(): void {
    for (const row of this.rules.seller.restart(this.seller, this.chain, 0))
      this.rules.seller.finish(this.seller, row.id, row.cost)
    this.running.clear()
    this.waiting = []
  }

  private check(): void {
    const truth = this.seller.charged + this.rules.seller.held(this.seller)
    if (truth > this.seller.signed) throw new Violation('served but unsigned')
    if (this.seller.signed > this.signed) throw new Violation('more is held signed than was ever signed')
    if (truth > this.rules.seller.available(this.seller)) throw new Violation('served above the balance')
    if (this.lossless && this.corrections > 0)
      throw new Violation('a serial stock client needed a correction')
  }
}
