import { existsSync } from 'node:fs'
import { glob, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { allCells } from './cells.ts'
import { coverage, coveringFiles } from './coverage.ts'

async function textOf(files: AsyncIterable<string> | readonly string[]): Promise<string> {
  const texts: string[] = []
  for await (const file of files)
    if (!file.startsWith('src') || !file.endsWith('.test.ts')) texts.push(await readFile(file, 'utf8'))
  return texts.join('\n')
}

test('every file that the matrix names is there, and no cell of it is empty', () => {
  expect(coveringFiles().filter((file) => !existsSync(file))).toEqual([])
  const cells = Object.values(coverage).flatMap((row) => Object.values(row))
  expect(cells.every((files) => files.length > 0)).toBe(true)
})

test('at every step that has a name something is killed', async () => {
  const source = await textOf(glob('src/**/*.ts'))
  const points = [...source.matchAll(/crashPoint\('([a-z.-]+)'\)/g)].map(([, point]) => point!)
  const tests = await textOf(coveringFiles())
  expect(points.length).toBeGreaterThan(20)
  expect(points.filter((point) => !tests.includes(`'${point}'`))).toEqual([])
})

test('every cell says what it is', () => {
  const names = allCells().map(({ role, name }) => `${role} ${name}`)
  expect(new Set(names).size).toBe(names.length)
})
