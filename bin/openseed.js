#!/usr/bin/env node
// Runs the bundle if it was built, else the sources; on the pinned Node when this one is too old.
// Plain syntax only: this file must load on every Node that can say that it is too old.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const bundle = new URL('../dist/openseed.js', import.meta.url)
const target = existsSync(bundle) ? bundle : new URL('../src/main.ts', import.meta.url)
const [major, minor] = process.versions.node.split('.').map(Number)

if (major > 22 || (major === 22 && minor >= 19)) await import(target.href)
else runOnPinnedNode()

function runOnPinnedNode() {
  const pinned = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
  if (!existsSync(pinned)) {
    process.stderr.write(
      `error openseed needs Node 22.19 or newer; this is ${process.versions.node}.\n` +
        '  fix  Install a newer Node, or run npm install in the project to get the pinned one.\n',
    )
    process.exitCode = 1
    return
  }
  const child = spawn(pinned, [fileURLToPath(target), ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.on(signal, () => child.kill(signal))
  }
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}
