import { errorCodes, type ErrorCode, type ErrorMeaning } from './error-codes.ts'

interface ErrorFacts {
  message: string
  /** What to do next, as a sentence or a command. */
  hint?: string | undefined
  /** Safe facts for programs. Never secrets, prompts or completions. */
  details?: Record<string, unknown> | undefined
  cause?: unknown
}

/** The one error class. Match on `code`, never on text. */
export class OpenSeedError extends Error {
  override name = 'OpenSeedError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly details: Record<string, unknown> | undefined

  constructor(code: ErrorCode, facts: ErrorFacts) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.hint = facts.hint
    this.details = facts.details
  }

  get meaning(): ErrorMeaning {
    return errorCodes[this.code]
  }
}

/** Turns anything thrown into an OpenSeedError; what is not ours is a bug and says so. */
export function asOpenSeedError(thrown: unknown): OpenSeedError {
  if (thrown instanceof OpenSeedError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new OpenSeedError('internal_error', { message, cause: thrown, hint: 'This is a bug in openseed.' })
}

/** True for an OpenSeedError with this code. */
export function hasCode(thrown: unknown, code: ErrorCode): thrown is OpenSeedError {
  return thrown instanceof OpenSeedError && thrown.code === code
}
