/**
 * The peers of one lookup: whom to ask next, and what those that are nearest to the key have done so far. Pure; the
 * clock that calls a peer late is the caller's.
 */

/** Where a peer is said to be. */
export interface Route {
  /** Null for a peer that this node knew before. */
  addr: string | null
  /** The network it is reached in; null where that is not known, or private. */
  network: string | null
}

export interface Contact extends Route {
  id: string
  /** XOR distance to the key. */
  far: bigint
}

/** Of the nearest peers, those that failed not among them. */
export interface Standing {
  known: number
  answered: number
  /** How many of the nearest two thirds were not heard yet and are not late. */
  awaited: number
}

interface Entry extends Contact {
  state: 'new' | 'asked' | 'late' | 'answered' | 'failed'
  /** Where it is said to be, and by how many. Whoever names it may lie about that. */
  routes: Map<string | null, Route & { votes: number; tried: boolean }>
  /** Who named it. Nobody, where this node knew it before. */
  namedBy: string[]
  /** Those of them who had when it was asked, and stand for it until it answers. */
  owedBy: string[]
}

const mostRoutes = 16
const mostNamers = 8
const mostDebts = 3

/** Two thirds, rounded up: fewer than that cannot keep the rest from being heard. */
export function mostOf(known: number): number {
  return Math.ceil((2 * known) / 3)
}

export class Shortlist {
  readonly #wanted: number
  readonly #perNetwork: number
  readonly #byId = new Map<string, Entry>()
  /** How many of those that a peer named were asked in vain until now. */
  readonly #debts = new Map<string, number>()
  #sorted: Entry[] = []

  /** Looks for that many peers. Of one network a fifth of them count: addresses are dearer than names. */
  constructor(wanted: number) {
    this.#wanted = wanted
    this.#perNetwork = Math.max(2, Math.floor(wanted / 5))
  }

  meet(contacts: readonly Contact[], by: string | null = null): void {
    for (const contact of contacts) {
      const known = this.#byId.get(contact.id)
      if (known === undefined) {
        const namedBy = by === null ? [] : [by]
        const entry: Entry = { ...contact, state: 'new', routes: new Map(), namedBy, owedBy: [] }
        // What this node knows itself comes before what anybody says.
        vote(entry, contact, by === null ? Infinity : 1)
        this.#byId.set(contact.id, entry)
        this.#sorted.push(entry)
        continue
      }
      if (by !== null && known.namedBy.length > 0 && known.namedBy.length < mostNamers) known.namedBy.push(by)
      vote(known, contact)
      if ((known.state === 'failed' || known.state === 'late') && untried(known)) known.state = 'new'
    }
    this.#sorted.sort((a, b) => (a.far < b.far ? -1 : 1))
  }

  /**
   * The peer to ask now, which then counts as asked; null while as many nearer ones may still answer. Who named some
   * that do not answer is believed after the others: or whoever invents near peers would be all that is asked.
   */
  next(): Contact | null {
    const open = this.#inReach()
    const chosen = open.find((entry) => this.#isVouchedFor(entry)) ?? open[0]
    if (chosen === undefined) return null
    const route = untried(chosen) as Route
    chosen.routes.set(route.addr, { ...route, votes: 0, tried: true })
    Object.assign(chosen, { addr: route.addr, network: route.network, state: 'asked' })
    // All of them: honest peers name the same ones.
    this.#owe(chosen.namedBy, 1)
    chosen.owedBy.push(...chosen.namedBy)
    const { id, far, addr, network } = chosen
    return { id, far, addr, network }
  }

  /** It answered, out of the network it really is in, and named others. */
  answered({ id }: Contact, network: string | null, named: readonly Contact[]): void {
    const entry = this.#byId.get(id)
    if (entry === undefined) return
    entry.state = 'answered'
    entry.network = network
    this.#owe(entry.owedBy, -1)
    entry.owedBy = []
    this.meet(named.slice(0, 4 * this.#wanted), id)
  }

  /** It is not where it was asked, or does not speak the language. */
  failed(contact: Contact): void {
    this.#giveUp(contact, 'failed')
  }

  /** Others are asked in its place; its answer still counts. */
  late(contact: Contact): void {
    this.#giveUp(contact, 'late')
  }

  /** How many were asked and are not late. */
  get waiting(): number {
    return this.#sorted.filter(({ state }) => state === 'asked').length
  }

  standing(): Standing {
    const nearest = this.#nearest()
    const known = nearest.length
    const inTime = nearest.filter(({ state }) => state !== 'late').slice(0, mostOf(known))
    const count = (entries: readonly Entry[]) => entries.filter(({ state }) => state === 'answered').length
    return { known, answered: count(nearest), awaited: inTime.length - count(inTime) }
  }

  /** Of the nearest, those that answered, in order. */
  found(): string[] {
    return this.#nearest().flatMap(({ id, state }) => (state === 'answered' ? [id] : []))
  }

  #nearest(): Entry[] {
    const hasRoom = this.#quota()
    return this.#sorted.filter((entry) => entry.state !== 'failed' && hasRoom(entry)).slice(0, this.#wanted)
  }

  #inReach(): Entry[] {
    const hasRoom = this.#quota()
    const open: Entry[] = []
    let taken = 0
    for (const entry of this.#sorted) {
      if (taken === this.#wanted) break
      if (entry.state === 'failed' || entry.state === 'late') continue
      if (entry.state !== 'new') taken += hasRoom(entry) ? 1 : 0
      else if (hasRoom(entry, false)) open.push(entry)
    }
    return open
  }

  #quota(): (route: Route, counts?: boolean) => boolean {
    const taken = new Map<string, number>()
    return ({ network }, counts = true) => {
      if (network === null) return true
      const count = taken.get(network) ?? 0
      if (count >= this.#perNetwork) return false
      if (counts) taken.set(network, count + 1)
      return true
    }
  }

  #isVouchedFor({ namedBy }: Entry): boolean {
    return namedBy.length === 0 || namedBy.some((name) => (this.#debts.get(name) ?? 0) < mostDebts)
  }

  #owe(names: readonly string[], change: 1 | -1): void {
    for (const name of names) this.#debts.set(name, (this.#debts.get(name) ?? 0) + change)
  }

  #giveUp({ id, addr }: Contact, state: 'failed' | 'late'): void {
    const entry = this.#byId.get(id)
    // Asked somewhere else in the meantime, or late before it failed for good.
    if (entry === undefined || entry.addr !== addr || entry.state === 'answered' || entry.state === 'new')
      return
    entry.state = untried(entry) ? 'new' : state
  }
}

function vote({ routes }: Entry, { addr, network }: Route, votes = 1): void {
  const route = routes.get(addr)
  if (route !== undefined) route.votes += votes
  else if (routes.size < mostRoutes) routes.set(addr, { addr, network, votes, tried: false })
}

/** The place to ask at next: where most say that it is, out of those where it was not asked yet. */
function untried({ routes }: Entry): Route | undefined {
  const [first, ...others] = [...routes.values()].filter(({ tried }) => !tried)
  return first && others.reduce((best, route) => (route.votes > best.votes ? route : best), first)
}
