/** What is asked and answered over `/openseed/reach/1.0.0`: one question and one answer to a stream. */
import { expectInteger, expectObject, expectText, refuseMessage } from '../../wire/fields.ts'
import { asPeerId, type PeerId } from '../../wire/peer-id.ts'
import { parseEndpoint } from './endpoint.ts'
import type { Endpoint } from './nat-type.ts'

export const reachProtocol = '/openseed/reach/1.0.0'

export type ReachQuestion =
  /** Where does this connection come from, as you see it? */
  | { ask: 'seen' }
  /** Can you open a connection to me, at the address you see and this port? */
  | { ask: 'dial'; port: number }
  /** Are you connected to that peer, and is this its address? Says what the asker was told, and no more. */
  | { ask: 'confirm'; peer: PeerId; ip: string }

export type ReachAnswer = { seen: Endpoint } | { yes: boolean } | { refused: 'busy' | 'not_for_you' }

/** Throws `invalid_message`. */
export function parseQuestion(input: unknown): ReachQuestion {
  const fields = expectObject(input, 'question')
  const ask = fields['ask']
  if (ask === 'seen') return { ask }
  if (ask === 'dial') return { ask, port: expectInteger(fields['port'], 'port', 65_535) }
  if (ask === 'confirm')
    return { ask, peer: asPeerId(fields['peer']), ip: expectText(fields['ip'], 'ip', 45) }
  return refuseMessage('ask', 'seen, dial or confirm')
}

/** What was seen; throws `invalid_message` for any other answer. */
export function parseSeen(input: unknown): Endpoint {
  return parseEndpoint(expectObject(input, 'answer')['seen'], 'seen')
}

/** Yes or no; null when the question was refused. Throws `invalid_message`. */
export function parseYes(input: unknown): boolean | null {
  const fields = expectObject(input, 'answer')
  if (fields['refused'] !== undefined) return null
  return typeof fields['yes'] === 'boolean' ? fields['yes'] : refuseMessage('yes', 'true or false')
}
