import { array, assert, boolean, constantFrom, nat, property, record, tuple } from 'fast-check'
import { expect, test } from 'vitest'
import { PeerCounts, PeerRates } from './peer-limits.ts'

const peers = ['a', 'b', 'c']

test('no peer passes its rate in any stretch of time, and one who keeps to it is never refused', () => {
  const burst = 5
  const perSec = 10
  assert(
    property(array(tuple(constantFrom(...peers), nat(300)), { maxLength: 60 }), (events) => {
      let nowMs = 0
      const rates = new PeerRates(perSec, burst, () => nowMs)
      const taken: { peer: string; atMs: number }[] = []
      for (const [peer, waitMs] of events) {
        nowMs += waitMs
        const last = taken.findLast((one) => one.peer === peer)?.atMs ?? Number.NEGATIVE_INFINITY
        const isTaken = rates.take(peer)
        if (nowMs - last >= 1000 / perSec + 1e-6) expect(isTaken).toBe(true)
        if (isTaken) taken.push({ peer, atMs: nowMs })
      }
      for (const { peer, atMs } of taken) {
        const since = taken.filter((one) => one.peer === peer && one.atMs >= atMs)
        for (const [index, one] of since.entries())
          expect(index + 1).toBeLessThanOrEqual(burst + ((one.atMs - atMs) / 1000) * perSec + 1e-6)
      }
    }),
  )
})

test('counts never pass a limit and come back to nothing', () => {
  const step = record({ peer: constantFrom(...peers), takes: boolean() })
  assert(
    property(array(step, { maxLength: 80 }), (steps) => {
      const counts = new PeerCounts(3, 5)
      const held = new Map(peers.map((peer) => [peer, 0]))
      const total = () => [...held.values()].reduce((sum, count) => sum + count, 0)
      for (const { peer, takes } of steps) {
        const mine = held.get(peer)!
        if (takes) {
          const isTaken = counts.take(peer)
          expect(isTaken).toBe(mine < 3 && total() < 5)
          if (isTaken) held.set(peer, mine + 1)
        } else {
          counts.giveBack(peer)
          held.set(peer, Math.max(0, mine - 1))
        }
      }
      for (const [peer, count] of held) for (let at = 0; at < count; at += 1) counts.giveBack(peer)
      for (let at = 0; at < 3; at += 1) expect(counts.take('a')).toBe(true)
    }),
  )
})
