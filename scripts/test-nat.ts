/**
 * Runs the tests that need networks of their own, in namespaces of this machine, and closes with one line:
 * `N passed, N failed`. Says why and does nothing where that is not possible.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isInstalled, whyNoLab } from '../test/nat/lab.ts'
import { daemon } from '../test/nat/router-daemon.ts'

const reason = await whyNoLab()
if (reason !== null) console.log(`test:nat skipped: ${reason}.`)
else await runAll()

async function runAll(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-nat-'))
  const file = join(folder, 'vitest.json')
  try {
    const code = await runVitest(file)
    const content = await readFile(file, 'utf8').catch(() => '{}')
    const { numPassedTests = 0, numFailedTests = 0 } = JSON.parse(content) as {
      numPassedTests?: number
      numFailedTests?: number
    }
    // An error outside of every test fails the run and no test.
    const failed = code === 0 && numPassedTests > 0 ? 0 : Math.max(1, numFailedTests)
    console.log(`${numPassedTests} passed, ${failed} failed`)
    process.exitCode = failed === 0 ? 0 : 1
  } finally {
    await rm(folder, { recursive: true })
  }
}

function runVitest(file: string): Promise<number | null> {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const left = isInstalled(daemon) ? [] : ['--exclude', 'test/nat/router.test.ts']
  if (left.length > 0) console.log(`Routers that open ports are left out: ${daemon} is not installed.`)
  const args = ['run', '--config', 'test/nat/vitest.config.ts', ...left, ...reporters]
  const child = spawn('vitest', args, { stdio: ['ignore', 'inherit', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
}
