import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { ProcessName } from './results.ts'
import type { UsageReport } from './servers/report-usage.ts'

/** A measured process. */
export interface Child extends AsyncDisposable {
  readonly name: ProcessName
  readonly url: string
  usage(): Promise<UsageReport>
  stop(): Promise<void>
}

export interface ChildStart {
  file: string
  args?: readonly string[]
  env?: NodeJS.ProcessEnv
  /** a folder for its CPU profile */
  profile?: string | undefined
}

const startMs = 30_000
const reporter = new URL('servers/report-usage.ts', import.meta.url).href

/** Starts a process that prints one line of JSON when it is ready, with its `url` or `baseUrl`. */
export async function startChild(
  name: ProcessName,
  { file, args = [], env = {}, profile }: ChildStart,
): Promise<Child> {
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}/${name}`]
  const child = fork(file, args, {
    execArgv: ['--import', reporter, ...profiling],
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
  }
  const { stdout } = child
  if (stdout === null) throw new Error('a child without stdout')
  try {
    const lines = createInterface({ input: stdout })
    const late = AbortSignal.timeout(startMs)
    const [line] = (await Promise.race([
      once(lines, 'line', { signal: late }),
      exited.then(() => [JSON.stringify({ error: 'it ended' })]),
    ])) as [string]
    return {
      name,
      url: urlIn(line, name),
      async usage() {
        const answer = once(child, 'message')
        child.send('usage')
        const [report] = (await answer) as [UsageReport]
        return report
      },
      stop,
      [Symbol.asyncDispose]: stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function urlIn(line: string, name: ProcessName): string {
  const facts = JSON.parse(line) as { url?: string; baseUrl?: string }
  const url = facts.url ?? facts.baseUrl
  if (url === undefined) throw new Error(`${name} did not start: ${line}`)
  return new URL(url).origin
}
