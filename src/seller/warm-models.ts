/** Keeps an eye on which models the engines have loaded, for heartbeats. Never on the way of a request. */
import { setTimeout as sleep } from 'node:timers/promises'
import { openAsk } from './engine/ask.ts'
import type { Engine } from './engine/engine.ts'
import { askLoaded } from './engine/loaded.ts'

export interface WarmModels extends AsyncDisposable {
  /** Ids of models, as they are offered; none where the engines do not tell. */
  ids(): string[]
}

export interface WarmOptions {
  apiKey?: string | undefined
  everyMs?: number
}

const usualEveryMs = 25_000
const answerTimeoutMs = 2_000

/** Asks at once and from time to time. An engine that does not answer has nothing loaded. */
export function watchWarm(engines: readonly Engine[], options: WarmOptions = {}): WarmModels {
  const { apiKey, everyMs = usualEveryMs } = options
  const stop = new AbortController()
  const { signal } = stop
  let warm: string[] = []
  const asks = engines.map((engine) => ({
    engine,
    ...openAsk(engine.baseUrl, { signal, apiKey, answerTimeoutMs }),
  }))

  async function look(): Promise<void> {
    const loaded = await Promise.all(asks.map(({ engine, ask }) => askLoaded(engine, ask)))
    warm = engines.flatMap(({ models }, at) =>
      models.map(({ id }) => id).filter((id) => loaded[at]?.includes(id)),
    )
  }

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      await look().catch(() => undefined)
      await sleep(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  const watching = watch()
  return {
    ids: () => [...new Set(warm)],
    async [Symbol.asyncDispose]() {
      stop.abort()
      await watching
      await Promise.all(asks.map((ask) => ask[Symbol.asyncDispose]()))
    },
  }
}
