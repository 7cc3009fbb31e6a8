import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import type { Io } from './io.ts'
import { openPrint } from './print.ts'

function printTo({
  columns,
  json = false,
  color = true,
}: { columns?: number; json?: boolean; color?: boolean } = {}) {
  const written = { stdout: '', stderr: '' }
  const stream = (name: keyof typeof written) =>
    Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          written[name] += String(chunk)
          done()
        },
      }),
      columns === undefined ? {} : { isTTY: true, columns },
    )
  const io = { stdout: stream('stdout'), stderr: stream('stderr') } as unknown as Io
  const terminal = { noColor: false, forceColor: false, dumb: false, ci: false }
  return { written, print: openPrint(io, { json, quiet: false, color, debug: false }, terminal) }
}

const columns = [{ title: 'ID' }, { title: 'USD', align: 'right' }] as const
const rows = [
  ['a'.repeat(60), '1'],
  ['b', '100'],
]

test('a table in a pipe is plain and never cut', () => {
  const table = printTo().print.table(columns, rows)
  expect(table.split('\n')[1]).toBe(`${'a'.repeat(60)}    1`)
})

test('a table on a terminal fits its width', () => {
  const table = printTo({ columns: 30, color: false }).print.table(columns, rows)
  const lines = table.split('\n')
  expect(Math.max(...lines.map((line) => line.length))).toBe(30)
  expect(lines[1]).toMatch(/a…  {3}1$/)
})

test('an address is never cut, whatever the width', () => {
  const address = `0x${'a'.repeat(40)}`
  const whole = [{ title: 'KEY' }, { title: 'ADDRESS', whole: true }] as const
  expect(printTo({ columns: 30 }).print.table(whole, [['a long name of a key', address]])).toContain(address)
})

test('of two wide columns both are cut, and a claim that is cut stays a claim', () => {
  const { print } = printTo({ columns: 32, color: false })
  const row = ['m'.repeat(200), { text: `${'g'.repeat(60)}?`, dim: true }]
  const [, line] = print.table([{ title: 'MODEL' }, { title: 'GPU' }], [row]).split('\n')
  expect(line).toBe(`${'m'.repeat(14)}…  ${'g'.repeat(13)}…?`)
})

test('signs that take two places or none are counted so, and none is cut in half', () => {
  const { print } = printTo({ columns: 20, color: false })
  const cell = (text: string) => print.table([{ title: 'A' }, { title: 'B' }], [[text, '|']]).split('\n')[1]
  expect(cell('日本')).toBe('日本  |')
  expect(cell('🦙')).toBe('🦙  |')
  expect(cell('e\u0301')).toBe('e\u0301  |')
  expect(cell('ｱｲ')).toBe('ｱｲ  |')
  expect(cell('日本'.repeat(20))).toBe(`${'日本'.repeat(4)}…  |`)
  expect(cell(`ab${'🦙'.repeat(20)}`)).toBe(`ab${'🦙'.repeat(7)}…  |`)
})

test('colour appears on a terminal only, and not when it is unwanted', () => {
  expect(printTo({ columns: 80 }).print.strong('x')).not.toBe('x')
  expect(printTo({ columns: 80, color: false }).print.strong('x')).toBe('x')
  expect(printTo().print.strong('x')).toBe('x')
})

test('amounts are decimal strings in JSON', () => {
  const { print, written } = printTo({ json: true })
  print.answer({ amount: 12n }, () => 'twelve')
  expect(written.stdout).toBe('{"amount":"12"}\n')
})

test('an error after the answer does not make a second value on stdout', () => {
  const { print, written } = printTo({ json: true })
  print.answer({ ready: true }, () => '')
  print.error(new OpenSeedError('engine_failed', { message: 'It broke.' }))
  expect(written.stdout).toBe('{"ready":true}\n')
  expect(JSON.parse(written.stderr)).toEqual({ error: { code: 'engine_failed', message: 'It broke.' } })
})

test('a dim cell is as wide as it looks', () => {
  const { print } = printTo({ columns: 80 })
  const table = print.table(
    [{ title: 'A' }, { title: 'B' }],
    [
      [{ text: 'claim?', dim: true }, 'b'],
      ['sure', 'b'],
    ],
  )
  expect(table.split('\n').slice(1)).toEqual(['\u001b[2mclaim?\u001b[22m  b', 'sure    b'])
})

test('frames replace each other on a terminal and follow each other in a pipe', () => {
  const terminal = printTo({ columns: 80 })
  terminal.print.frame('one')
  terminal.print.frame('two')
  expect(terminal.written.stdout).toBe('\u001b[H\u001b[Jone\n\u001b[H\u001b[Jtwo\n')
  const pipe = printTo()
  pipe.print.frame('one')
  expect(pipe.written.stdout).toBe('one\n')
})

test('an error that points into what was typed shows where', () => {
  const { print, written } = printTo()
  print.error(new OpenSeedError('usage', { message: 'Bad.', details: { pointer: 'a bad\n  ^^^' } }))
  expect(written.stderr).toBe('error Bad.\n    a bad\n      ^^^\n  code usage\n')
})
