import { nativeCurve, pureCurve, type Curve } from '../../src/wire/curve.ts'
import { openDigests } from '../../src/wire/digests.ts'
import { networks } from '../../src/config/networks.ts'
import type { Hex } from '../../src/wire/hex.ts'
import type { MicroResults } from '../results.ts'

const key: Hex = `0x${'42'.repeat(32)}`
const channelId: Hex = `0x${'07'.repeat(32)}`

/** What one signature costs, in the addon and in JavaScript. The digest of a voucher has no native form. */
export function measureCurve(milliseconds: number): MicroResults['curve'] {
  const digests = openDigests(networks.local.terms)
  const digestOf = (index: number) => digests.voucher(channelId, BigInt(index))
  const digestUs = timeEach(milliseconds, digestOf)
  const operations: [string, (curve: Curve) => (index: number) => unknown][] = [
    [
      'sign',
      (curve) => {
        const digest = digestOf(1)
        return () => curve.sign(digest, key)
      },
    ],
    [
      'recover',
      (curve) => {
        const digest = digestOf(1)
        const signature = curve.sign(digest, key)
        return () => curve.recover(digest, signature)
      },
    ],
  ]
  return [
    { operation: 'voucher digest', nativeUs: digestUs, pureUs: digestUs },
    ...operations.map(([operation, prepare]) => ({
      operation,
      nativeUs: timeEach(milliseconds, prepare(nativeCurve())),
      pureUs: timeEach(milliseconds, prepare(pureCurve())),
    })),
  ]
}

/** Microseconds of this thread's CPU a call, which others on the machine do not lengthen. */
export function timeEach(milliseconds: number, call: (index: number) => unknown): number {
  let calls = 0
  const repeat = (untilMs: number) => {
    while (performance.now() < untilMs) call((calls += 1))
  }
  // What is measured is compiled code.
  repeat(performance.now() + milliseconds / 4)
  calls = 0
  const before = process.threadCpuUsage()
  repeat(performance.now() + milliseconds)
  const { user, system } = process.threadCpuUsage(before)
  return (user + system) / calls
}
