/**
 * Proves what contracts/proof/Ledger.sol asserts: solc turns each call into questions, z3 answers them. A proof that
 * would also succeed for a broken ledger says nothing, so `--mutants` removes the ledger's statements one by one and
 * demands that each removal is noticed. Needs z3 (Debian: apt-get install z3).
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

interface Solc {
  compile(input: string, callbacks: { smtSolver: (query: string) => { contents: string } }): string
}

interface Verdict {
  proved: number
  /** What does not hold, or could not be decided. */
  open: string[]
}

const path = 'contracts/proof/Ledger.sol'
// Money does not depend on these: calls without effect are refused, who withdraws twice gains nothing, a withdrawal is
// cut to what is free when it is finalised, and no balance outgrows the token's supply.
const immaterial = [
  'require(amount != 0);',
  'require(requested != 0);',
  'require(totalClaimed <= ceiling);',
  'require(isA ? isPendingA : isPendingB);',
  'require(!(isA ? isPendingA : isPendingB));',
  'require(amount <= (isA ? balanceA - claimedA : balanceB - claimedB));',
  'require(amount <= type(uint128).max - oldBalance);',
  'setPending(isA, 0, false);',
]
const mutable =
  /^ {8,}(?:require|set|if \(total|if \(isA\) claimed|else claimed|held|deposited|receiver|paid)/

const solc = createRequire(import.meta.url)('solc') as Solc
const source = readFileSync(path, 'utf8')
if (spawnSync('z3', ['--version']).error) {
  console.error('npm run prove needs the solver z3 on PATH. Debian and Ubuntu: apt-get install z3')
  process.exit(1)
}

const { proved, open } = prove(source)
for (const problem of open) console.error(problem)
console.log(`${path}: ${proved} proved, ${open.length} not proved`)
if (open.length > 0 || proved === 0) process.exitCode = 1
if (process.argv.includes('--mutants')) judgeMutants()

function judgeMutants(): void {
  const lines = source.split('\n')
  const removable = lines.flatMap((line, at) =>
    mutable.test(line) && !immaterial.includes(line.trim()) ? [at] : [],
  )
  let noticed = 0
  for (const at of removable) {
    const mutant = lines.with(at, lines[at]!.startsWith('        else') ? '' : emptied(lines[at]!)).join('\n')
    if (prove(mutant).open.length > 0) noticed += 1
    else console.error(`not noticed when removed: ${lines[at]!.trim()}`)
  }
  console.log(`${noticed} of ${removable.length} removals noticed`)
  if (noticed < removable.length || noticed === 0) process.exitCode = 1
}

// What an `else` follows must stay a statement.
function emptied(line: string): string {
  return line.replace(/(if \([^)]*\) )?.*/, (_whole, condition?: string) =>
    condition ? `${condition}{}` : '',
  )
}

function prove(content: string): Verdict {
  const input = {
    language: 'Solidity',
    sources: { [path]: { content } },
    settings: {
      modelChecker: {
        engine: 'bmc',
        solvers: ['smtlib2'],
        targets: ['assert', 'underflow', 'overflow'],
        showProvedSafe: true,
        showUnproved: true,
        showUnsupported: true,
      },
      outputSelection: { '*': { '*': ['abi'] } },
    },
  }
  const output = JSON.parse(solc.compile(JSON.stringify(input), { smtSolver: ask })) as {
    errors?: { message: string; formattedMessage: string }[]
  }
  const messages = output.errors ?? []
  return {
    proved: messages.filter(({ message }) => message.includes('is safe')).length,
    open: messages
      .filter(
        ({ message }) =>
          !message.includes('is safe') && !message.includes('engine of the SMTChecker is deprecated'),
      )
      .map(({ formattedMessage }) => formattedMessage),
  }
}

function ask(query: string): { contents: string } {
  const { stdout } = spawnSync('z3', ['-smt2', '-in', '-T:60'], { input: query, encoding: 'utf8' })
  return { contents: stdout }
}
