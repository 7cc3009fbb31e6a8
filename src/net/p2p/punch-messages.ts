/**
 * What is said over `/openseed/punch/1.0.0`: each side says what it is, the caller first; then the caller says that
 * it begins, and the called one begins when it hears that.
 */
import { expectObject, optional, refuseMessage } from '../../wire/fields.ts'
import { parseEndpoint } from './endpoint.ts'
import type { Endpoint, Nat } from './nat-type.ts'
import type { PunchSide } from './punch-plan.ts'

export const punchProtocol = '/openseed/punch/1.0.0'

/** `at`: where the caller listens now, to be called back. */
export type PunchStart = { plan: 'meet' } | { plan: 'reverse'; at: Endpoint } | { plan: 'none' }

const nats: readonly unknown[] = ['none', 'cone', 'symmetric', 'unknown'] satisfies Nat[]

/** Throws `invalid_message`. */
export function parseSide(input: unknown): PunchSide {
  const fields = expectObject(input, 'side')
  const { nat, open } = fields
  if (!nats.includes(nat)) return refuseMessage('nat', 'none, cone, symmetric or unknown')
  if (typeof open !== 'boolean') return refuseMessage('open', 'true or false')
  return { nat: nat as Nat, from: optional(fields['from'], (from) => parseEndpoint(from, 'from')), open }
}

/** Throws `invalid_message`. */
export function parseStart(input: unknown): PunchStart {
  const fields = expectObject(input, 'start')
  const plan = fields['plan']
  if (plan === 'reverse') return { plan, at: parseEndpoint(fields['at'], 'at') }
  return plan === 'meet' || plan === 'none' ? { plan } : refuseMessage('plan', 'meet, reverse or none')
}
