import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { buildProgram } from './program.ts'

const io = {
  stdin: new PassThrough(),
  stdout: new PassThrough(),
  stderr: new PassThrough(),
  variables: {},
  signal: new AbortController().signal,
}
const names = (argv: string[]) => buildProgram(io, argv).command.commands.map((command) => command.name())
const all = names([])

test.each(all.filter((name) => name !== 'completion'))(
  'a line that begins with %s sets up that command',
  (name) => {
    expect(names([name, '--json'])).toEqual([name])
  },
)

test.each([[['--json', 'search']], [['serach']], [['--help']], [['completion', 'bash']], [['toString']]])(
  'all commands are there for %j',
  (argv) => {
    expect(names(argv)).toEqual(all)
    expect(all.length).toBeGreaterThan(10)
  },
)
