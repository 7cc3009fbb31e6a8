import { expect, test } from 'vitest'
import { nearNames } from './near-names.ts'

const names = ['llama3:8b', 'llama3:70b', 'qwen3-coder', 'gpt-oss-20b', 'mistral-small']

test('a slip of the keyboard finds the name', () => {
  expect(nearNames('qwen3-cdoer', names)).toEqual(['qwen3-coder'])
  expect(nearNames('GPT-OSS-20B', names)).toEqual(['gpt-oss-20b'])
})

test('a part of a name finds all that have it', () => {
  expect(nearNames('llama3', names)).toEqual(['llama3:70b', 'llama3:8b'])
})

test('a name like no other finds nothing, however long it is', () => {
  expect(nearNames('x'.repeat(1_000_000), names)).toEqual([])
})
