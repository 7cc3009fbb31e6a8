import { expect, test } from 'vitest'
import { errorCodes } from './error-codes.ts'
import { OpenSeedError, asOpenSeedError, hasCode } from './errors.ts'

test('an error carries its code, meaning, hint and cause', () => {
  const cause = new Error('disk')
  const error = new OpenSeedError('store_unavailable', { message: 'No.', hint: 'Check.', cause })
  expect(error).toMatchObject({ code: 'store_unavailable', message: 'No.', hint: 'Check.', cause })
  expect(error.meaning).toBe(errorCodes.store_unavailable)
  expect(hasCode(error, 'store_unavailable')).toBe(true)
  expect(hasCode(cause, 'store_unavailable')).toBe(false)
})

test('anything else that is thrown is called a bug and keeps its cause', () => {
  const thrown = new TypeError('oops')
  expect(asOpenSeedError(thrown)).toMatchObject({ code: 'internal_error', message: 'oops', cause: thrown })
  expect(asOpenSeedError('text').message).toBe('text')
})

test('an OpenSeedError passes unchanged', () => {
  const error = new OpenSeedError('no_seller', { message: 'None.' })
  expect(asOpenSeedError(error)).toBe(error)
})

test('codes are lower snake case and in alphabetical order', () => {
  const codes = Object.keys(errorCodes)
  expect(codes.filter((code) => !/^[a-z]+(_[a-z]+)*$/.test(code))).toEqual([])
  expect(codes).toEqual(codes.toSorted())
})
