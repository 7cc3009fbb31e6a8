/**
 * Asks whether the contracts' tests would notice a broken contract: changes one comparison, check, operator or effect
 * of the contracts at a time, in a copy, and demands that `forge test` fails. Options: `--list` shows the mutants and
 * runs none, `--only 12` or `--only 12-40` runs some.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

interface Mutant {
  file: string
  line: number
  from: number
  to: number
  replacement: string
  /** The lines it touches, on one line, before and after. */
  before: string
  after: string
}

interface Equivalent {
  before: string
  after: string
  why: string
}

type Verdict = 'noticed' | 'survived' | 'no code'

const files = [
  'ChannelEscrow',
  'Erc3009Collector',
  'libraries/Hashes',
  'libraries/Signatures',
  'libraries/Transfers',
]

// Applied to the source with its comments and strings blanked. What replaces a statement is a block, because the
// statement may be all that an `if` has.
const mutations: readonly [pattern: RegExp, ...replacements: string[]][] = [
  [/==/g, '!='],
  [/!=/g, '=='],
  [/<=/g, '<', '>'],
  [/>=/g, '>', '<'],
  [/<(?!=)/g, '<=', '>='],
  [/(?<!=)>(?!=)/g, '>=', '<='],
  [/&&/g, '||'],
  [/\|\|/g, '&&'],
  [/!(?!=)/g, ''],
  [/\+=/g, '-='],
  [/-=/g, '+='],
  [/\+\+/g, '--'],
  [/(?<!\+)\+(?![+=])/g, '-'],
  [/(?<!-)-(?![-=])/g, '+'],
  [/\bif iszero\((?=call)/g, 'if eq(1, '],
  [/\breturn false;/g, 'return true;'],
  [/(?<= )return;/g, '{}'],
  [/\brevert [A-Z]\w*\([^;]*\);/g, '{}'],
  [/(?<=^ *)revert\(.*\)$/gm, ''],
  [/\bemit [^;]*;/g, '{}'],
  [/\bdelete [^;]*;/g, '{}'],
  [/\b(?:channel|state|pending)\.\w+ [-+]?= [^;]*;/g, '{}'],
  [/\breceivers\[[^;]* \+= [^;]*;/g, '{}'],
  [/\+\+refundNonce[^;]*;/g, '{}'],
  [/\b(?:_entered|ESCROW) = [^;]*;/g, '{}'],
  [/(?<=^ *|\) )(?:_\w+|[A-Z]\w+)(?:\.\w+)?\([^;{]*;/gm, '{}'],
  [/(?<=\bexternal\s+)(?:nonReentrant|notEntered)\b/g, ''],
]

const equivalents: readonly Equivalent[] = [
  {
    before: 'return a < b ? a : b;',
    after: 'return a <= b ? a : b;',
    why: 'the smaller of two equal numbers is either',
  },
]

// Enough for nearly all; who survives these meets the whole tests.
const shortRuns = { FOUNDRY_FUZZ_RUNS: '32', FOUNDRY_INVARIANT_RUNS: '4', FOUNDRY_INVARIANT_DEPTH: '32' }

const { values } = parseArgs({ options: { list: { type: 'boolean' }, only: { type: 'string' } } })
const root = fileURLToPath(new URL('../', import.meta.url))
const sourceOf = (file: string) => `contracts/src/${file}.sol`
const mutants = files.flatMap((file) => mutantsOf(file, readFileSync(join(root, sourceOf(file)), 'utf8')))
const chosen = choose(values.only)

if (values.list) for (const number of chosen) console.log(describe(number))
else judge()

function judge(): void {
  const unused = equivalents.filter((entry) => !mutants.some((mutant) => isSame(entry, mutant)))
  for (const { before, after } of unused) console.error(`not a mutant any more: ${before} -> ${after}`)
  if (unused.length > 0) process.exitCode = 1
  const copy = copyOfContracts()
  try {
    const unchanged = forge(copy, shortRuns)
    if (!unchanged.passed) throw new Error(`the tests fail without any mutation:\n${unchanged.output}`)
    const counts = { noticed: 0, survived: 0, 'no code': 0, equivalent: 0 }
    for (const number of chosen) {
      const mutant = mutants[number - 1] as Mutant
      const verdict = verdictOn(mutant, copy)
      const equivalent = equivalents.find((entry) => isSame(entry, mutant))
      if (number % 20 === 0) console.log(`${number} of ${mutants.length} ...`)
      if (verdict === 'survived' && equivalent) {
        counts.equivalent += 1
        console.log(`${describe(number)}\n  changes nothing: ${equivalent.why}`)
        continue
      }
      counts[verdict] += 1
      if (verdict !== 'noticed' || equivalent) {
        process.exitCode = 1
        console.error(`${verdict}: ${describe(number)}`)
      }
    }
    console.log(
      `${counts.noticed} of ${chosen.length} mutants noticed, ${counts.equivalent} change nothing, ` +
        `${counts.survived} survived, ${counts['no code']} do not compile`,
    )
  } finally {
    rmSync(copy, { recursive: true })
  }
}

function verdictOn({ file, from, to, replacement }: Mutant, copy: string): Verdict {
  const path = join(copy, sourceOf(file))
  const source = readFileSync(path, 'utf8')
  writeFileSync(path, source.slice(0, from) + replacement + source.slice(to))
  try {
    const short = forge(copy, shortRuns)
    if (short.output.includes('Compiler run failed')) return 'no code'
    return short.passed && forge(copy, {}).passed ? 'survived' : 'noticed'
  } finally {
    writeFileSync(path, source)
  }
}

// No filter by contract or test: with one, forge has the compiler read every source first.
function forge(copy: string, settings: Record<string, string>): { passed: boolean; output: string } {
  const words = ['test', '--root', copy, '--fail-fast', '--dynamic-test-linking']
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts/forge.ts'), ...words], {
    encoding: 'utf8',
    // Linked late and not optimised, a mutant costs the compilation of one file.
    env: { ...process.env, FOUNDRY_OPTIMIZER: 'false', ...settings },
    // Running without an end is noticed too.
    timeout: 300_000,
    maxBuffer: 2 ** 26,
  })
  return { passed: status === 0, output: stdout + stderr }
}

function copyOfContracts(): string {
  const copy = mkdtempSync(join(tmpdir(), 'openseed-mutants-'))
  const parts = ['foundry.toml', 'contracts/src', 'contracts/test', 'scripts/solc', 'test/vectors']
  for (const part of parts) cpSync(join(root, part), join(copy, part), { recursive: true })
  // Its figures are those of optimised code.
  rmSync(join(copy, 'contracts/test/Gas.t.sol'))
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

function mutantsOf(file: string, source: string): Mutant[] {
  const code = blanked(source)
  const found = mutations.flatMap(([pattern, ...replacements]) =>
    [...code.matchAll(pattern)].flatMap(({ index: from, 0: { length } }) =>
      replacements.map((replacement) => mutantAt(file, source, from, from + length, replacement)),
    ),
  )
  return found.toSorted((a, b) => a.from - b.from || a.to - b.to)
}

function mutantAt(file: string, source: string, from: number, to: number, replacement: string): Mutant {
  const start = source.lastIndexOf('\n', from) + 1
  const end = source.indexOf('\n', to)
  const oneLine = (text: string) => text.replaceAll(/\s+/g, ' ').trim()
  return {
    file,
    line: source.slice(0, from).split('\n').length,
    from,
    to,
    replacement,
    before: oneLine(source.slice(start, end)),
    after: oneLine(source.slice(start, from) + replacement + source.slice(to, end)),
  }
}

// Same length, so that what is found in it is where it is in the source.
function blanked(source: string): string {
  return source.replaceAll(/\/\/.*|\/\*[\s\S]*?\*\/|"[^"]*"|^(?:import|pragma) .*/gm, (text) =>
    ' '.repeat(text.length),
  )
}

function choose(only: string | undefined): number[] {
  const [first = 1, last = only === undefined ? mutants.length : first] = only?.split('-').map(Number) ?? []
  const numbers = mutants.map((_, index) => index + 1).filter((number) => number >= first && number <= last)
  if (numbers.length === 0) throw new RangeError(`--only takes 1 to ${mutants.length}, or a range of these`)
  return numbers
}

function describe(number: number): string {
  const { file, line, before, after } = mutants[number - 1] as Mutant
  return `${number}  ${sourceOf(file)}:${line}  ${before}  ->  ${after}`
}

function isSame(a: { before: string; after: string }, b: { before: string; after: string }): boolean {
  return a.before === b.before && a.after === b.after
}
