import { describe, expect, test } from 'vitest'
import { nothingObserved, observe } from './observed.ts'

const usage = { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 }
const delta = (piece: object, index = 0) => ({ choices: [{ index, delta: piece }] })

describe('what a reply says it used', () => {
  test('counts when it comes after all text, or stands beside a whole message', () => {
    const streamed = nothingObserved()
    observe(delta({ content: 'hi' }), streamed)
    observe({ choices: [], usage }, streamed)
    expect(streamed.usage).toEqual({ inputTokens: 9, cachedTokens: 0, outputTokens: 4 })
    const plain = nothingObserved()
    observe({ choices: [{ message: { content: 'hi' } }], usage }, plain)
    expect(plain.usage).toMatchObject({ outputTokens: 4 })
  })

  test('does not while it runs along, or when more text follows', () => {
    const running = nothingObserved()
    observe({ ...delta({ content: 'hi' }), usage }, running)
    expect(running.usage).toBeNull()
    observe({ choices: [], usage }, running)
    observe(delta({ content: ' there' }), running)
    expect(running.usage).toBeNull()
  })
})

describe('the text of a reply', () => {
  test('is kept field by field and choice by choice, as a model wrote it', () => {
    const total = nothingObserved(true)
    observe(delta({ reasoning_content: 'think' }), total)
    observe(delta({ content: 'to' }), total)
    observe(delta({ content: 'other' }, 1), total)
    observe(delta({ content: 'gether' }), total)
    observe(delta({ tool_calls: [{ index: 2, function: { name: 'f', arguments: '{"a"' } }] }), total)
    observe(delta({ tool_calls: [{ index: 2, function: { arguments: ':1}' } }] }), total)
    expect([...total.texts!.values()].map((pieces) => pieces.join(''))).toEqual([
      'think',
      'together',
      'other',
      'f',
      '{"a":1}',
    ])
    expect(total.outputBytes).toBe(26)
  })

  test('is not kept for nobody, and not without end', () => {
    const unwanted = nothingObserved()
    observe(delta({ content: 'hi' }), unwanted)
    expect(unwanted.texts).toBeNull()
    const long = nothingObserved(true)
    observe(delta({ content: 'x'.repeat(1024 * 1024) }), long)
    expect(long.texts).not.toBeNull()
    observe(delta({ content: 'x' }), long)
    observe(delta({ content: 'x' }), long)
    expect(long.texts).toBeNull()
  })
})
