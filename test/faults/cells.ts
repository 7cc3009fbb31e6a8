/** The cells of the matrix that these suites run: who, at which step, and what befalls it. */

/** Killed; no space on its disk; its disk from an old copy; a reply lost; its clock wrong; another process like it. */
export type Fault = 'kill' | 'disk' | 'stale' | 'lost' | 'ahead' | 'behind' | 'twin'
export type Role = 'buyer' | 'seller'
/** `engine` and `stream`: a request is inside the engine, before its first byte or in the middle of its stream. */
export type Step = 'idle' | 'engine' | 'stream' | 'deposit' | 'refund' | 'claim'

export interface Cell {
  name: string
  role: Role
  step: Step
  fault: Fault
  /** The process kills itself at this crash point of the step. */
  crashAt?: string
  stream?: boolean
  /** Run also where time is short. */
  daily: boolean
}

const plain = {
  buyer: {
    idle: ['disk', 'ahead', 'behind', 'twin', 'lost', 'kill'],
    engine: ['kill', 'disk', 'ahead', 'behind', 'twin'],
    stream: ['kill!', 'disk!', 'ahead', 'behind', 'twin!'],
    deposit: ['disk', 'ahead', 'behind', 'lost!'],
    refund: ['disk', 'ahead', 'behind!', 'lost', 'kill!'],
    claim: [],
  },
  seller: {
    idle: ['kill', 'disk', 'ahead', 'behind', 'twin', 'lost'],
    engine: ['kill', 'disk', 'ahead', 'behind', 'twin'],
    stream: ['kill!', 'disk', 'ahead!', 'behind', 'twin!'],
    deposit: ['disk', 'ahead', 'behind', 'lost!'],
    refund: ['disk', 'ahead', 'behind', 'lost'],
    claim: ['disk!', 'ahead', 'behind', 'twin'],
  },
} as const

/** Crash points after which the disk is copied, the work goes on, and the copy comes back. */
const copiedAt: Record<Role, Partial<Record<Step, readonly string[]>>> = {
  buyer: {
    idle: ['buyer.opened', 'buyer.sent!', 'buyer.final', 'buyer.booked'],
    deposit: ['buyer.opened', 'buyer.deposit-stored!', 'buyer.deposit-sent', 'buyer.booked'],
  },
  seller: {
    idle: ['seller.admitted', 'seller.engine-called', 'seller.finished!', 'seller.answered'],
    stream: ['seller.first-byte', 'seller.metered', 'seller.finished', 'seller.answered'],
    deposit: ['outbox.intended', 'outbox.signed', 'outbox.sent!', 'outbox.confirmed'],
    refund: ['seller.refund-reserved', 'outbox.sent', 'seller.refund-sent'],
    claim: ['seller.claim-chosen', 'outbox.sent!', 'outbox.confirmed', 'seller.claim-sent'],
  },
}

const deep = process.env['TEST_DEEP'] === '1'

export function allCells(): Cell[] {
  const roles: Role[] = ['buyer', 'seller']
  return roles.flatMap((role) => {
    const steps = Object.entries(plain[role]) as [Step, readonly string[]][]
    const faults = steps.flatMap(([step, names]) =>
      names.map((name) => ({
        name: `${step}: ${bare(name)}`,
        role,
        step,
        fault: bare(name) as Fault,
        daily: isDaily(name),
      })),
    )
    const copies = Object.entries(copiedAt[role]) as [Step, readonly string[]][]
    const stale = copies.flatMap(([step, points]) =>
      points.map((point) => ({
        name: `${step}: stale since ${bare(point)}`,
        role,
        step,
        fault: 'stale' as const,
        crashAt: bare(point),
        stream: step === 'stream',
        daily: isDaily(point),
      })),
    )
    return [...faults, ...stale]
  })
}

/** Those of one role that this run has time for. */
export const cellsOf = (role: Role): Cell[] =>
  allCells().filter((cell) => cell.role === role && (deep || cell.daily))

const bare = (name: string) => name.replace('!', '')
const isDaily = (name: string) => name.endsWith('!')
