/** From the start of a process to its answer, on the built bundle. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { runWindow } from './load.ts'
import { plain } from './requests.ts'
import type { StartUpResults } from './results.ts'
import type { Stage } from './stage.ts'
import { median } from './statistics.ts'

/** The buyer of the stage must have stopped: its home has one place. */
export async function measureStartUp({ bundle, buy }: Stage, times: number): Promise<StartUpResults> {
  const run = async (args: string[], env: NodeJS.ProcessEnv = {}) => {
    const startedAtMs = performance.now()
    await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...buy.env, ...env } })
    return performance.now() - startedAtMs
  }
  // With a wrong password it ends where it would have unlocked the wallet.
  const refused = () => {
    const startedAtMs = performance.now()
    return run([bundle, ...buy.args], { OPENSEED_PASSWORD: 'wrong' }).then(
      () => Promise.reject(new Error('a wrong password was taken')),
      () => performance.now() - startedAtMs,
    )
  }
  const nodeMs = median(await repeat(times, () => run(['-e', '0'])))
  const versionMs = median(await repeat(times, () => run([bundle, 'version'])))
  const helpMs = median(await repeat(times, () => run([bundle, '--help'])))
  const bought = await repeat(times, () => buyOnce([bundle, ...buy.args], buy.env))
  const unlockMs = median(await repeat(times, refused))
  const buyFirstAnswerMs = median(bought.map(({ answeredMs }) => answeredMs))
  return {
    nodeMs,
    versionMs,
    helpMs,
    buyReadyMs: median(bought.map(({ readyMs }) => readyMs)),
    buyFirstAnswerMs,
    buyAfterUnlockMs: buyFirstAnswerMs - unlockMs,
  }
}

async function buyOnce(args: string[], env: NodeJS.ProcessEnv) {
  const startedAtMs = performance.now()
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  try {
    const lines = createInterface({ input: child.stdout })
    const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(30_000) })) as [string]
    const readyMs = performance.now() - startedAtMs
    const { origin: url } = new URL((JSON.parse(line) as { baseUrl: string }).baseUrl)
    let answeredMs = 0
    const mark = () => {
      answeredMs ||= performance.now() - startedAtMs
      return Promise.resolve()
    }
    await runWindow({ url, load: plain, concurrency: 1, durationMs: 0, mark, rampRequests: 1 })
    return { readyMs, answeredMs }
  } finally {
    child.kill('SIGTERM')
    await exited
  }
}

async function repeat<T>(times: number, measure: () => Promise<T>): Promise<T[]> {
  const results: T[] = []
  for (let round = 0; round < times; round++) results.push(await measure())
  return results
}
