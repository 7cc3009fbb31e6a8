import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { errorCodes } from '../base/error-codes.ts'
import { readSellerError } from './seller-error.ts'

const said = (code: unknown) => JSON.stringify({ error: { code, message: 'It says so.' } })

async function codeOf(status: number, body: string | Readable): Promise<string> {
  const reply = {
    status,
    headers: {},
    body: typeof body === 'string' ? Readable.from([Buffer.from(body)]) : body,
  }
  return (await readSellerError('http://s', reply)).code
}

test('what a seller says of the request or of itself is passed on', async () => {
  for (const code of ['invalid_request', 'model_not_found', 'engine_failed', 'rate_limit_exceeded'])
    expect(await codeOf(400, said(code))).toBe(code)
})

test('no seller speaks for the wallet, the caps, the disk or the client of this node', async () => {
  const ours = Object.keys(errorCodes).filter((code) =>
    /^(?:balance|budget|channel|charge|chain|clock|config|internal|money|no_seller|origin|payment|request_|store|wallet)/.test(
      code,
    ),
  )
  expect(ours.length).toBeGreaterThan(20)
  for (const code of ours) expect(await codeOf(402, said(code))).toBe('seller_failed')
})

test.each([
  [400, 'invalid_request'],
  [401, 'seller_failed'],
  [403, 'seller_failed'],
  [404, 'model_not_found'],
  [405, 'seller_failed'],
  [413, 'body_too_large'],
  [422, 'invalid_request'],
  [429, 'rate_limit_exceeded'],
  [500, 'seller_failed'],
  [302, 'seller_failed'],
])('without a code of ours the status %i is %s', async (status, code) => {
  expect(await codeOf(status, '<html>')).toBe(code)
  expect(await codeOf(status, said('made_up'))).toBe(code)
  expect(await codeOf(status, said(7))).toBe(code)
})

test('an error that never ends is one of the seller', async () => {
  const endless = new Readable({ read() {} })
  expect(await codeOf(500, endless)).toBe('seller_failed')
})
