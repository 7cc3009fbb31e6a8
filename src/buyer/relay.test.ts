import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deltaEvent, doneEvent, receiptEvent, settlementOf } from '../../test/fixtures/buyer-seller-bytes.ts'
import { OpenSeedError } from '../base/errors.ts'
import { keccak256 } from '../wire/keccak.ts'
import { errorEvent } from '../wire/openai-error.ts'
import { nothingObserved } from './observed.ts'
import { relay, type RelayFacts } from './relay.ts'

interface Relayed {
  client: string
  facts: RelayFacts
}

async function relayed(source: Readable): Promise<Relayed> {
  const { body, facts } = relay(source)
  const chunks: Buffer[] = []
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
  return { client: Buffer.concat(chunks).toString(), facts: await facts }
}

const relayedText = (...pieces: string[]) => relayed(Readable.from(pieces.map((piece) => Buffer.from(piece))))

async function passed(source: PassThrough, text: string): Promise<void> {
  const seen = once(source, 'data')
  source.write(text)
  await seen
}

const crlf = (text: string) => text.replaceAll('\n', '\r\n')

const callOf = (fn: Record<string, unknown>) => ({ tool_calls: [{ index: 0, id: 'call_1', function: fn }] })

const content =
  deltaEvent({ role: 'assistant', content: '' }) + deltaEvent({ content: 'Grüße' }) + deltaEvent({}, 'stop')

describe('a whole stream', () => {
  test('reaches the client without the receipt, which is given to the caller', async () => {
    const settlement = settlementOf({ payer: '0x01' })
    const { client, facts } = await relayedText(content, receiptEvent(settlement), doneEvent)
    expect(client).toBe(content + doneEvent)
    expect(facts).toEqual({
      responseHash: keccak256(content),
      output: { ...nothingObserved(), outputBytes: 7, contentChunks: 1 },
      receiptSeen: true,
      settlement,
      ended: 'done',
      failure: null,
    })
  })

  test('is the same however it is cut into chunks', async () => {
    const bytes = Buffer.from(content + receiptEvent() + doneEvent)
    const whole = await relayed(Readable.from([bytes]))
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
        const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end))
        expect(await relayed(Readable.from(pieces.filter(({ length }) => length > 0)))).toEqual(whole)
      }),
      { numRuns: 60 },
    )
  })

  test('may have the receipt in the same event as the end mark', async () => {
    const { client, facts } = await relayedText(content, receiptEvent().slice(0, -1), doneEvent)
    expect(client).toBe(content + doneEvent)
    expect(facts.responseHash).toBe(keccak256(content))
    expect(facts.settlement).not.toBeNull()
  })

  test('may have CRLF line ends, pings and no blank line at the very end', async () => {
    const ping = ': ping\r\n\r\n'
    const { client, facts } = await relayedText(crlf(content), ping, crlf(receiptEvent()), 'data: [DONE]')
    expect(client).toBe(`${crlf(content)}${ping}data: [DONE]`)
    expect(facts.responseHash).toBe(keccak256(crlf(content) + ping))
    expect(facts.ended).toBe('done')
    expect(facts.settlement).not.toBeNull()
  })

  test('without a receipt is hashed to its end', async () => {
    const { facts } = await relayedText(content, doneEvent)
    expect(facts).toMatchObject({ receiptSeen: false, settlement: null, ended: 'done', failure: null })
    expect(facts.responseHash).toBe(keccak256(content + doneEvent))
  })

  test('with an unreadable receipt still reaches the client, and says so', async () => {
    const { client, facts } = await relayedText(content, ': x402-payment-response !!\n\n', doneEvent)
    expect(client).toBe(content + doneEvent)
    expect(facts).toMatchObject({ receiptSeen: true, settlement: null, ended: 'done' })
    expect(facts.failure?.code).toBe('invalid_message')
  })

  test('takes the first of two receipts; what follows it is not covered', async () => {
    const first = settlementOf({ payer: 'first' })
    const { client, facts } = await relayedText(
      content,
      receiptEvent(first),
      content,
      receiptEvent(),
      doneEvent,
    )
    expect(client).toBe(content + content + doneEvent)
    expect(facts.settlement).toEqual(first)
    expect(facts.responseHash).toBe(keccak256(content))
  })

  test('whose text only speaks of a receipt is left alone', async () => {
    const text = deltaEvent({ content: '\n\n: x402-payment-response abc\n\n' })
    const { client, facts } = await relayedText(text, doneEvent)
    expect(client).toBe(text + doneEvent)
    expect(facts.receiptSeen).toBe(false)
  })
})

describe('what the output is', () => {
  test('text, reasoning, refusals and tool calls are counted; all else is not', async () => {
    const { facts } = await relayedText(
      deltaEvent({ reasoning_content: 'ab' }),
      deltaEvent({ reasoning: 'c' }),
      deltaEvent({ refusal: 'no' }),
      deltaEvent(callOf({ name: 'get', arguments: '' })),
      deltaEvent(callOf({ arguments: '{}' })),
      'data: {"choices":[],"usage":{"completion_tokens":9}}\n\n',
      'data: "text"\n\ndata: {"choices":7}\n\ndata: {"choices":[null,{"delta":[]}]}\n\n',
      doneEvent,
    )
    expect(facts.output).toEqual({ ...nothingObserved(), outputBytes: 10, contentChunks: 5, toolCalls: 1 })
  })
})

describe('a broken stream', () => {
  const cut = deltaEvent({ content: 'never whole' }).slice(0, -9)

  test('that ends without an end mark becomes an error event; a half event is not forwarded', async () => {
    const { client, facts } = await relayedText(content, cut)
    expect(facts).toMatchObject({ ended: null, failure: { code: 'seller_stream_broken' } })
    expect(client).toBe(content + errorEvent(facts.failure))
  })

  test('tells the client what broke it, after all that was delivered', async () => {
    const source = new PassThrough()
    const cause = new OpenSeedError('seller_timeout', { message: 'silent' })
    const result = relayed(source)
    await passed(source, content + cut)
    source.destroy(cause)
    expect((await result).facts.failure).toBe(cause)
    expect((await result).client).toBe(content + errorEvent(cause))
  })

  test('that is dropped without a reason is broken too', async () => {
    const source = new PassThrough()
    const result = relayed(source)
    source.destroy()
    expect((await result).facts.failure).toMatchObject({ code: 'seller_stream_broken' })
  })

  test('after its end mark is whole', async () => {
    const source = new PassThrough()
    const result = relayed(source)
    await passed(source, content + receiptEvent() + doneEvent)
    source.destroy(new Error('reset'))
    expect(await result).toMatchObject({
      client: content + doneEvent,
      facts: { ended: 'done', failure: null },
    })
  })

  test('that says so by an error event ends in form, with its receipt', async () => {
    const died =
      'data: {"error":{"message":"died","type":"server_error","param":null,"code":"engine_failed"}}\n\n'
    const { client, facts } = await relayedText(content, died, receiptEvent())
    expect(client).toBe(content + died)
    expect(facts).toMatchObject({ ended: 'error', receiptSeen: true, failure: null })
    expect(facts.responseHash).toBe(keccak256(content + died))
  })

  test('with an event over the limit is closed', async () => {
    const source = new PassThrough()
    const result = relayed(source)
    source.write('x'.repeat(5_000_000))
    source.write('x'.repeat(5_000_000))
    await once(source, 'close')
    const { client, facts } = await result
    expect(facts.failure).toMatchObject({ code: 'invalid_message' })
    expect(client).toBe(errorEvent(facts.failure))
  })
})

test('a client that leaves closes the seller and is no failure of the seller', async () => {
  const source = new PassThrough()
  const { body, facts } = relay(source)
  source.write(content)
  await once(body, 'readable')
  body.destroy()
  await once(source, 'close')
  expect(await facts).toMatchObject({ ended: null, failure: null })
})
