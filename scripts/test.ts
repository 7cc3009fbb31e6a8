/**
 * Runs the tests of both languages at the same time, shows what they say, and closes with one line: `N passed, N failed`.
 * Fails when either fails, and when either has run nothing. `--deep` adds the long profiles.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { constants, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

interface Count {
  passed: number
  failed: number
  skipped: number
}

const deep = process.argv.includes('--deep')
const startedAtMs = performance.now()
// Vitest waits for a third of its time; what it leaves is enough for the contracts.
const [forge, stories] = await Promise.all([runForge(), runVitest()])
process.stdout.write(forge.output)
const counts = [stories, forge]
const total = (name: keyof Count) => counts.reduce((sum, count) => sum + count[name], 0)
const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1)
const skipped = total('skipped') > 0 ? `, ${total('skipped')} skipped` : ''
console.log(`\nTests of both languages took ${seconds} s.`)
// Alone on its line, so that whoever counts finds it.
console.log(`${total('passed')} passed, ${total('failed')} failed${skipped}`)
process.exitCode = counts.every(({ passed, failed }) => passed > 0 && failed === 0) ? 0 : 1

interface VitestReport {
  numPassedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: { status: string; assertionResults: { status: string }[] }[]
}

async function runVitest(): Promise<Count> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-test-'))
  const file = join(folder, 'vitest.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const { code } = await run('vitest', ['run', ...reporters], deep ? { TEST_DEEP: '1' } : {})
    const content = await readFile(file, 'utf8').catch(() => null)
    if (content === null) return { passed: 0, failed: 1, skipped: 0 }
    const report = JSON.parse(content) as VitestReport
    const failed = report.testResults.reduce((sum, result) => sum + failuresOf(result), 0)
    return {
      passed: report.numPassedTests,
      // An error outside of every test fails the run and no test.
      failed: code === 0 ? failed : Math.max(1, failed),
      skipped: report.numPendingTests + report.numTodoTests,
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

// A file that cannot be loaded has no tests, yet it failed.
function failuresOf({ status, assertionResults }: VitestReport['testResults'][number]): number {
  const failed = assertionResults.filter((result) => result.status === 'failed').length
  return status === 'failed' ? Math.max(1, failed) : failed
}

async function runForge(): Promise<Count & { output: string }> {
  const { code, output } = await run(
    'node',
    ['scripts/forge.ts', 'test'],
    deep ? { FOUNDRY_PROFILE: 'deep' } : {},
    'behind',
  )
  const summary = /(\d+) tests passed, (\d+) failed, (\d+) skipped/.exec(stripVTControlCharacters(output))
  const [passed = 0, failed = 0, skipped = 0] = (summary ?? []).slice(1).map(Number)
  return { passed, failed: code === 0 ? 0 : Math.max(1, failed), skipped, output }
}

/** Shows what it prints as it comes; `behind` others it takes only time that is left, and is not shown. */
function run(
  command: string,
  args: string[],
  variables: Record<string, string>,
  place: 'in front' | 'behind' = 'in front',
) {
  const env = { ...process.env, ...variables }
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  if (place === 'behind' && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    if (place === 'in front') process.stdout.write(chunk)
  })
  return new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, output }))
  })
}
