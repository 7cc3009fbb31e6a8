import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { findNodeKey, openNodeKey, rotateNodeKey } from './identity.ts'

function temporaryHome() {
  const folder = mkdtempSync(join(tmpdir(), 'openseed-identity-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}

test('the node key is made once, readable by its owner only, and read again afterwards', () => {
  using home = temporaryHome()
  const folder = join(home.folder, 'a', 'b')
  expect(findNodeKey(folder)).toBeNull()
  const key = openNodeKey(folder)
  expect(findNodeKey(folder)?.peerId).toBe(key.peerId)
  expect(openNodeKey(folder).peerId).toBe(key.peerId)
  expect(readFileSync(join(folder, 'node.key'))).toHaveLength(32)
  if (process.platform !== 'win32') expect(statSync(join(folder, 'node.key')).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['node.key'])
})

test('two homes are two nodes', () => {
  using one = temporaryHome()
  using two = temporaryHome()
  expect(openNodeKey(one.folder).peerId).not.toBe(openNodeKey(two.folder).peerId)
})

test('a damaged key file is reported and not replaced', () => {
  using home = temporaryHome()
  writeFileSync(join(home.folder, 'node.key'), 'short')
  expect(() => openNodeKey(home.folder)).toThrow('a node key has 32 bytes, this file has 5')
  expect(() => rotateNodeKey(home.folder)).toThrow('a node key has 32 bytes, this file has 5')
  expect(readFileSync(join(home.folder, 'node.key'), 'utf8')).toBe('short')
})

test('rotation gives a new key and keeps every old one', () => {
  using home = temporaryHome()
  const first = openNodeKey(home.folder)
  const second = rotateNodeKey(home.folder)
  const third = rotateNodeKey(home.folder)
  expect(new Set([first.peerId, second.peerId, third.peerId]).size).toBe(3)
  expect(openNodeKey(home.folder).peerId).toBe(third.peerId)
  expect(readFileSync(join(home.folder, 'node.key.1'))).toEqual(Buffer.from(first.seed))
  expect(readFileSync(join(home.folder, 'node.key.2'))).toEqual(Buffer.from(second.seed))
  expect(readdirSync(home.folder)).toHaveLength(3)
})
