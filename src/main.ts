/** The process: streams, signals, exit code. Everything else is below cli/. */
import { interruptedExitCode, main } from './cli/run.ts'

const stop = new AbortController()
let stoppedAtMs = 0

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (!stop.signal.aborted) {
      stoppedAtMs = performance.now()
      stop.abort()
      return
    }
    // npm and bin/openseed.js pass on what the terminal has sent to us already: one Ctrl-C may come twice.
    // Whoever asks again does not want to wait for the drain.
    if (performance.now() - stoppedAtMs > 300) process.exit(interruptedExitCode)
  })
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

async function run(): Promise<void> {
  const { stdin, stdout, stderr, env } = process
  const io = { stdin, stdout, stderr, variables: env, signal: stop.signal }
  // Until there is a verdict, running out of things to wait for is a failure.
  process.exitCode = 1
  process.exitCode = await main(process.argv.slice(2), io)
}

void run()
