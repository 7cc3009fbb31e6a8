/** The process: streams, signals, exit code. Everything else is below cli/. */
import { enableCompileCache, getCompileCacheDir } from 'node:module'
import { isSea } from 'node:sea'
import { privateFolder } from './base/private-folder.ts'
import { interruptedExitCode } from './cli/io.ts'

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

// Compiling is a third of a short command. The executable has its own cache inside.
function keepCompiledCode(): void {
  if (isSea() || getCompileCacheDir() !== undefined) return
  try {
    enableCompileCache(privateFolder('compiled'))
  } catch {
    // A user without a folder to write to waits a moment longer.
  }
}

async function run(): Promise<void> {
  const io = {
    // Opening it takes as long as a small command's work.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    variables: process.env,
    signal: stop.signal,
  }
  // Until there is a verdict, running out of things to wait for is a failure.
  process.exitCode = 1
  const { main } = await import('./cli/run.ts')
  process.exitCode = await main(process.argv.slice(2), io)
}

keepCompiledCode()
void run()
