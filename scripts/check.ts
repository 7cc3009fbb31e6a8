/** Everything that can be said about the code without running it. All checks run; any one that fails fails the whole. */
import { spawnSync } from 'node:child_process'

const checks: Record<string, string[]> = {
  format: ['oxfmt', '--check', '.'],
  lint: ['oxlint'],
  types: ['tsc', '--noEmit'],
  unused: ['knip'],
  lockfile: ['node', 'scripts/lockfile.ts', '--check'],
  docs: ['node', 'scripts/docs.ts', '--check'],
  vectors: ['node', 'scripts/make-vectors.ts', '--check'],
  solidity: ['node', 'scripts/forge.ts', 'fmt', '--check'],
  contracts: ['node', 'scripts/build-contracts.ts', '--check'],
}

const failed: string[] = []
for (const [name, [command = '', ...args]] of Object.entries(checks)) {
  const startedAtMs = performance.now()
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (error || status !== 0) failed.push(name)
  const verdict = error?.message ?? (status === 0 ? 'ok' : 'failed')
  console.log(`${name}: ${verdict} (${((performance.now() - startedAtMs) / 1000).toFixed(1)} s)`)
}

if (failed.length > 0) console.error(`\nfailed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
