import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { maxEventBytes, SseSplitter, type SseEvent } from './sse.ts'

const split = (...chunks: (string | Uint8Array)[]) => {
  const splitter = new SseSplitter()
  const events = chunks.flatMap((chunk) => splitter.push(Buffer.from(chunk as Uint8Array)))
  return [...events, ...splitter.end()]
}
const plain = (events: SseEvent[]) =>
  events.map(({ raw, data, comment }) => ({ raw: raw.toString('latin1'), data, comment }))

describe('an event stream', () => {
  test('is cut at blank lines of both kinds and keeps its exact bytes', () => {
    expect(plain(split('data: {"a":1}\n\ndata: [DONE]\r\n\r\n'))).toEqual([
      { raw: 'data: {"a":1}\n\n', data: '{"a":1}', comment: null },
      { raw: 'data: [DONE]\r\n\r\n', data: '[DONE]', comment: null },
    ])
  })

  test('joins data lines, drops one space, and tells comments from data', () => {
    expect(plain(split('event: x\ndata:a\ndata:  b\ndata\n: note\n:more\nid: 7\n\n'))).toEqual([
      expect.objectContaining({ data: 'a\n b\n', comment: 'note\nmore' }),
    ])
    expect(plain(split(': x402-payment-response eyJ9\n\n'))[0]).toMatchObject({
      data: null,
      comment: 'x402-payment-response eyJ9',
    })
    expect(plain(split('database: 1\n\n'))[0]).toMatchObject({ data: null, comment: null })
  })

  test('puts characters together that a chunk border cut', () => {
    const bytes = Buffer.from('data: Grüße 日本 🌍\n\n')
    for (let cut = 0; cut <= bytes.length; cut += 1)
      expect(split(bytes.subarray(0, cut), bytes.subarray(cut))[0]!.data).toBe('Grüße 日本 🌍')
  })

  test('that ends in the middle gives the rest at the end, without its blank line', () => {
    const splitter = new SseSplitter()
    expect(splitter.push(Buffer.from('data: a\n\ndata: b'))).toHaveLength(1)
    expect(plain(splitter.end())).toEqual([{ raw: 'data: b', data: 'b', comment: null }])
    expect(splitter.end()).toEqual([])
  })

  test('gives an event as soon as its last byte is there', () => {
    const splitter = new SseSplitter()
    expect(splitter.push(Buffer.from('data: a\r\n\r'))).toEqual([])
    expect(splitter.push(Buffer.from('\n'))).toHaveLength(1)
  })

  test('events handed out do not change when more arrives', () => {
    const splitter = new SseSplitter()
    splitter.push(Buffer.from('data: fir'))
    const [first] = splitter.push(Buffer.from('st\n\ndata: second'))
    splitter.push(Buffer.from(' and a long rest that overwrites what was held\n\n'))
    expect(first!.raw.toString()).toBe('data: first\n\n')
  })
})

describe('an event of more than 8 MiB', () => {
  const piece = Buffer.alloc(1024 * 1024, 120)

  test('is refused in pieces and in one', () => {
    const splitter = new SseSplitter()
    for (let sent = 0; sent < maxEventBytes; sent += piece.length) splitter.push(piece)
    expect(() => splitter.push(Buffer.from('x'))).toThrow(
      expect.objectContaining({ code: 'invalid_message' }),
    )
    const whole = Buffer.concat([Buffer.alloc(maxEventBytes, 120), Buffer.from('\n\n')])
    expect(() => new SseSplitter().push(whole)).toThrow(expect.objectContaining({ code: 'invalid_message' }))
  })

  test('does not make smaller events after each other a problem', () => {
    const splitter = new SseSplitter()
    for (let round = 0; round < 12; round += 1)
      expect(splitter.push(Buffer.concat([piece, Buffer.from('\n\n')]))).toHaveLength(1)
  })
})

test('however a stream is cut into chunks, the events are the same and their bytes are the stream', () => {
  const token = fc.constantFrom(
    'data: ',
    'data:',
    'data',
    ':',
    ': c',
    '\n',
    '\n',
    '\r\n',
    '\r',
    '\n\n',
    'ü',
    '🌍',
    'x',
    '{"a":1}',
    ' ',
    'event: e',
  )
  const stream = fc.oneof(
    fc.array(token, { maxLength: 40 }).map((tokens) => Buffer.from(tokens.join(''))),
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  )
  fc.assert(
    fc.property(stream, fc.array(fc.nat(200), { maxLength: 12 }), (bytes, cuts) => {
      const borders = [
        0,
        ...cuts.filter((cut) => cut <= bytes.length).toSorted((a, b) => a - b),
        bytes.length,
      ]
      const chunks = borders.slice(1).map((border, index) => bytes.subarray(borders[index], border))
      const whole = split(bytes)
      expect(plain(split(...chunks))).toEqual(plain(whole))
      expect(Buffer.concat(whole.map(({ raw }) => raw)).equals(bytes)).toBe(true)
    }),
    { numRuns: 300 },
  )
})
