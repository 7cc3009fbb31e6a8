/**
 * Runs forge and ends with its exit code: `node scripts/forge.ts test`. The launcher in the npm package of forge
 * always exits 0, so a failing test would look like a passing one; this goes to the platform's binary directly.
 */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const launcher = createRequire(import.meta.url).resolve('@foundry-rs/forge/package.json')
const architecture = process.arch === 'x64' ? 'amd64' : process.arch
const binary = process.platform === 'win32' ? 'forge.exe' : 'forge'
const forge = createRequire(launcher).resolve(
  `@foundry-rs/forge-${process.platform}-${architecture}/bin/${binary}`,
)

const { status, signal, error } = spawnSync(forge, process.argv.slice(2), {
  cwd: fileURLToPath(new URL('../', import.meta.url)),
  stdio: 'inherit',
})
if (error) throw error
process.exitCode = status ?? 128 + constants.signals[signal ?? 'SIGTERM']
