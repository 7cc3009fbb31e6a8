import { OpenSeedError } from '../base/errors.ts'
import type { Rpc } from './rpc.ts'

type AskAll = <T>(ask: (source: Rpc) => Promise<T>) => Promise<T[]>

// Time for the last ones once enough have answered: their word may differ.
const graceMs = 500

/** `Rpc.all` over these sources. */
export function openAskAll(sources: readonly Rpc[], needed: (answered: number) => number): AskAll {
  // Those that were too slow last time: nobody waits for them again before they were in time once.
  const late = new Set<Rpc>()

  return async (ask) => {
    type Answer = Awaited<ReturnType<typeof ask>>
    const answers = new Map<Rpc, Answer>()
    const failures: OpenSeedError[] = []
    const enough = Promise.withResolvers<void>()
    const asked = sources.map(async (source) => {
      try {
        answers.set(source, await ask(source))
        late.delete(source)
      } catch (thrown) {
        failures.push(thrown instanceof OpenSeedError ? thrown : nonsense(source, thrown))
      }
      if (answers.size >= needed(sources.length)) enough.resolve()
    })
    const done = Promise.all(asked)
    await Promise.race([done, enough.promise])
    const isWaitedFor = sources.some((source) => !answers.has(source) && !late.has(source))
    if (isWaitedFor && answers.size + failures.length < sources.length) {
      const timer = Promise.withResolvers<void>()
      const timeout = setTimeout(timer.resolve, graceMs)
      await Promise.race([done, timer.promise]).finally(() => clearTimeout(timeout))
    }
    // Whoever comes too late has no say any more.
    for (const source of sources) if (!answers.has(source)) late.add(source)
    if (answers.size > 0 && answers.size >= needed(answers.size)) return [...answers.values()]
    throw tooFew(failures, { answered: answers.size, of: sources.length })
  }
}

// Of one RPC of several: what cannot even be read must not keep the others from being heard.
const nonsense = (source: Rpc, cause: unknown) =>
  new OpenSeedError('chain_unavailable', { message: `${source.name}: an answer makes no sense.`, cause })

/** Some answered, but not as many as must agree. */
export function tooFew(
  failures: readonly OpenSeedError[],
  { answered, of }: { answered: number; of: number },
) {
  const [first] = failures
  if (answered === 0 && failures.length === of && first !== undefined) {
    // All of one mind: the chain itself refuses, or serves another chain.
    return of === 1 || failures.every(({ code }) => code === first.code && code !== 'chain_unavailable')
      ? first
      : unavailable(failures)
  }
  return new OpenSeedError('chain_unavailable', {
    message: `Only ${answered} of ${of} RPCs answered, too few to rely on.`,
    hint: 'Check rpc_urls, or say with rpc_quorum how many must agree.',
    cause: first,
  })
}

/** No URL answered. */
export function unavailable(failures: readonly OpenSeedError[]): OpenSeedError {
  const mismatch = failures.find((failure) => failure.code === 'chain_mismatch')
  if (mismatch) return mismatch
  return new OpenSeedError('chain_unavailable', {
    message: `No RPC answered: ${failures.map((failure) => failure.message).join(' ') || 'none is configured.'}`,
    hint: 'Check the network connection and the RPC URLs in the config.',
    cause: failures[0],
  })
}
