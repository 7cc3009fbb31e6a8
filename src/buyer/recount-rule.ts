/**
 * The acceptance test of a charge, from our own count of the reply: it may cost what the offer asks for the lesser of
 * what the seller reports and what we count, with two percent and a few tokens for what text does not show. Pure.
 */
import type { Usdc } from '../wire/amount.ts'
import type { SignedOffer } from '../wire/offer.ts'
import { chargeFor } from '../wire/price.ts'
import type { Receipt } from '../wire/receipt.ts'
import { hiddenPerToolCall, type RequestBounds } from './check.ts'

export interface CountedCharge {
  receipt: Receipt
  signedOffer: SignedOffer
  ceiling: Usdc
  bounds: RequestBounds
  toolCalls: number
  /** Tokens of the text that arrived. */
  countedOutput: number
  /** Tokens of the prompt as it was sent; null where text is not all of it. */
  countedInput: number | null
  /** Tokens that an engine may add to the prompt. */
  promptAllowance: number
}

const tolerancePercent = 2
const promptSlack = 16

const withTolerance = (tokens: number) => Math.floor((tokens * (100 + tolerancePercent)) / 100)

/** The most that this reply may cost. */
export function acceptableCharge(charge: CountedCharge): Usdc {
  const { receipt, signedOffer, ceiling } = charge
  const inputTokens = Math.min(receipt.inputTokens, mostInput(charge))
  const outputTokens = Math.min(receipt.outputTokens, mostOutput(charge))
  // What is not believed is taken off the dearer, uncached part, as far as it goes.
  const cachedTokens = Math.min(receipt.cachedTokens, inputTokens)
  const usage = { inputTokens, cachedTokens, outputTokens }
  return chargeFor(usage, signedOffer.offer, signedOffer.details.min, ceiling)
}

function mostInput({ countedInput, promptAllowance }: CountedCharge): number {
  return countedInput === null ? Infinity : withTolerance(countedInput) + promptSlack + promptAllowance
}

function mostOutput({ countedOutput, bounds, toolCalls }: CountedCharge): number {
  return withTolerance(countedOutput) + bounds.hiddenTokens + toolCalls * hiddenPerToolCall
}

// Default system texts of chat templates, and what introduces tools, as in the ceiling.
const systemTextTokens = 256
const toolPreambleTokens = 512

/** What of a request can be counted as text; null when it holds more than text. */
export function promptText(json: Record<string, unknown>): { text: string; allowance: number } | null {
  const { messages, tools } = json
  if (!Array.isArray(messages) || messages.some(holdsMore)) return null
  const hasTools = Array.isArray(tools) && tools.length > 0
  // As JSON: its punctuation stands for the marks that a chat template puts around each message.
  const text = JSON.stringify(messages) + (hasTools ? JSON.stringify(tools) : '')
  return { text, allowance: systemTextTokens + (hasTools ? toolPreambleTokens : 0) }
}

function holdsMore(message: unknown): boolean {
  const content: unknown =
    typeof message === 'object' && message !== null ? (message as Record<string, unknown>)['content'] : null
  return Array.isArray(content) && content.some((part) => typeOf(part) !== 'text')
}

function typeOf(part: unknown): unknown {
  return typeof part === 'object' && part !== null ? (part as Record<string, unknown>)['type'] : 'text'
}

/** Models whose tokens we can count: those of OpenAI that share one tokenizer. */
export function isCountable(model: string): boolean {
  const name = model.toLowerCase().split('/').at(-1) ?? ''
  return /^(?:gpt-oss|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|chatgpt-4o|o1|o3|o4)(?![a-z0-9])/.test(name)
}
