import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeHeads, openHeads, staleHead, type SeenHead } from './heads.ts'

const nowMs = 1_700_000_000_000
const at = (ageSec: number): SeenHead => ({ timestampSec: nowMs / 1000 - ageSec })
const judge = (heads: SeenHead[], wanted: number | null = null) =>
  judgeHeads(heads, { maxAgeSec: 120, wanted, nowMs }).kind

test.for([
  { heads: [at(2)], verdict: 'fresh' },
  { heads: [at(121)], verdict: 'stale' },
  { heads: [at(-121)], verdict: 'stale' },
  { heads: [at(2), at(3)], verdict: 'fresh' },
  { heads: [at(2), at(500)], verdict: 'stale' },
  { heads: [], verdict: 'stale' },
  { heads: [at(2), at(3), at(9999)], verdict: 'fresh' },
  { heads: [at(2), at(9999), at(9999)], verdict: 'stale' },
])('heads $heads are $verdict', ({ heads, verdict }) => {
  expect(judge(heads)).toBe(verdict)
})

test('the owner may be content with one, or ask for more', () => {
  expect(judge([at(2), at(500)], 1)).toBe('fresh')
  expect(judge([at(2), at(3), at(500)], 3)).toBe('stale')
})

test('one liar of three or more neither stops work nor keeps it going', () => {
  const head = fc.integer({ min: -10_000, max: 10_000 }).map(at)
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 6 }), fc.boolean(), head, (honest, isFresh, lie) => {
      const heads = [...Array<SeenHead>(honest).fill(at(isFresh ? 5 : 1000)), lie]
      expect(judge(heads)).toBe(isFresh ? 'fresh' : 'stale')
    }),
  )
})

test('where blocks come on demand no head is stale', () => {
  expect(judgeHeads([at(99_999)], { maxAgeSec: null, wanted: null, nowMs })).toEqual({ kind: 'fresh' })
})

test('a head grows stale by itself, and the refusal says why and what to do', () => {
  let now = nowMs
  const heads = openHeads(at(0), { sources: ['a', 'b'], maxAgeSec: 120, wanted: null, now: () => now })
  const refusal = () => {
    const verdict = heads.judge()
    return verdict.kind === 'stale' ? staleHead(verdict).message : null
  }
  expect(refusal()).toBeNull()
  heads.saw('b', at(300))
  expect(refusal()).toContain('Only 1 of the 2 RPCs')
  heads.saw('b', null)
  expect(refusal()).toBeNull()
  heads.saw('a', null)
  expect(refusal()).toContain('Only 1 of the 2 RPCs')
  now += 121_000
  expect(refusal()).toContain('is 421 s old')
})

test('without any block at all the refusal says so', () => {
  expect(staleHead({ kind: 'stale', ageSec: null, fresh: 0, needed: 1 })).toMatchObject({
    code: 'chain_stale',
    message: expect.stringContaining('No RPC shows this seller the chain'),
    hint: expect.stringContaining('Nothing was charged'),
  })
})
