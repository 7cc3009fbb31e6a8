/**
 * Runs the tests of both languages at the same time, and closes with what failed, and with one line: `N passed, N failed`.
 * Fails when either fails, and when either has run nothing. `--deep` adds the long profiles.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { constants, setPriority, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { stripVTControlCharacters } from 'node:util'

interface Count {
  passed: number
  failed: number
  skipped: number
  /** What is worth reading again at the end: of a long log often only the end is kept. */
  failures: string
}

const deep = process.argv.includes('--deep')
const startedAtMs = performance.now()
// Vitest waits for a third of its time; what it leaves is enough for the contracts.
const [forge, stories] = await Promise.all([runForge(), runVitest()])
const counts = [forge, stories]
const total = (name: 'passed' | 'failed' | 'skipped') => counts.reduce((sum, count) => sum + count[name], 0)
const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1)
const skipped = total('skipped') > 0 ? `, ${total('skipped')} skipped` : ''
for (const { failures } of counts) process.stdout.write(failures)
console.log(`\nTests of both languages took ${seconds} s.`)
// Alone on its line, so that whoever counts finds it.
console.log(`${total('passed')} passed, ${total('failed')} failed${skipped}`)
process.exitCode = counts.every(({ passed, failed }) => passed > 0 && failed === 0) ? 0 : 1

interface VitestReport {
  numPassedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: FileReport[]
}

interface FileReport {
  name: string
  status: string
  /** Why the file could not be loaded. */
  message: string
  assertionResults: { status: string; fullName: string; failureMessages: string[] }[]
}

async function runVitest(): Promise<Count> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-test-'))
  const file = join(folder, 'vitest.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
    const { code } = await run('vitest', ['run', ...reporters], deep ? { TEST_DEEP: '1' } : {})
    const content = await readFile(file, 'utf8').catch(() => null)
    if (content === null) return { passed: 0, failed: 1, skipped: 0, failures: '\nVitest wrote no report.\n' }
    const report = JSON.parse(content) as VitestReport
    const failures = report.testResults.flatMap(failuresOf)
    // An error outside of every test fails the run and no test.
    if (code !== 0 && failures.length === 0) failures.push('\nFAILED outside of every test, see above\n')
    return {
      passed: report.numPassedTests,
      failed: failures.length,
      skipped: report.numPendingTests + report.numTodoTests,
      failures: failures.join(''),
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

function failuresOf({ name, status, message, assertionResults }: FileReport): string[] {
  const failed = assertionResults.filter((result) => result.status === 'failed')
  const told = failed.map(({ fullName, failureMessages }) => tell(name, fullName, failureMessages.join('\n')))
  // A file that cannot be loaded has no tests, yet it failed.
  return status === 'failed' && told.length === 0 ? [tell(name, 'could not be run', message)] : told
}

function tell(file: string, test: string, reason: string): string {
  const lines = stripVTControlCharacters(reason).split('\n').slice(0, 20)
  return `\nFAILED ${relative(process.cwd(), file)}: ${test}\n${lines.map((line) => `  ${line}\n`).join('')}`
}

async function runForge(): Promise<Count> {
  const { code, output } = await run(
    'node',
    ['scripts/forge.ts', 'test'],
    deep ? { FOUNDRY_PROFILE: 'deep' } : {},
    'behind',
  )
  const summary = /(\d+) tests passed, (\d+) failed, (\d+) skipped/.exec(stripVTControlCharacters(output))
  const [passed = 0, failed = 0, skipped = 0] = (summary ?? []).slice(1).map(Number)
  if (code === 0) return { passed, failed: 0, skipped, failures: '' }
  return { passed, failed: Math.max(1, failed), skipped, failures: output }
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
