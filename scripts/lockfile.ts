/**
 * npm forgets a package's `gypfile: false` when it writes the lockfile, and then compiles from source what the package
 * ships prebuilt: slow at best, and impossible where there is no compiler. This puts the mark back; run it after
 * changing dependencies. With `--check` it looks at what is committed, because every install drops the mark again.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

const path = 'package-lock.json'
const prebuilt = 'node_modules/better-sqlite3'

interface Lockfile {
  packages: Record<string, { gypfile?: boolean } | undefined>
}

if (process.argv.includes('--check')) {
  const { packages } = JSON.parse(committed()) as Lockfile
  if (packages[prebuilt]?.gypfile !== false) {
    console.error(`${path} would make npm compile ${prebuilt}: run npm run lockfile and commit it`)
    process.exitCode = 1
  }
} else {
  const lockfile = JSON.parse(readFileSync(path, 'utf8')) as Lockfile
  lockfile.packages[prebuilt] = { ...lockfile.packages[prebuilt], gypfile: false }
  writeFileSync(path, `${JSON.stringify(lockfile, null, 2)}\n`)
}

function committed(): string {
  try {
    return execFileSync('git', ['show', `HEAD:${path}`], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  } catch {
    // Not a checkout: what is there was unpacked as it was published.
    return readFileSync(path, 'utf8')
  }
}
