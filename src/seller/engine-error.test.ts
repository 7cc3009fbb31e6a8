import { expect, test } from 'vitest'
import { engineErrorIn, parseEngineError, refusalError } from './engine-error.ts'

test.each([
  [
    'OpenAI',
    '{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}',
    400,
    'bad',
  ],
  [
    'vLLM with an integer code',
    '{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}',
    400,
    'too long',
  ],
  [
    'vLLM before 0.10',
    '{"object":"error","message":"nope","type":"NotFoundError","param":null,"code":404}',
    404,
    'nope',
  ],
  [
    'llama.cpp',
    '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    503,
    'Loading model',
  ],
  ['Ollama', '{"error":"model not found"}', 404, 'model not found'],
  ['FastAPI', '{"detail":[{"loc":["body"],"msg":"field required","type":"missing"}]}', 422, 'field required'],
  ['plain text', 'Internal Server Error', 500, 'Internal Server Error'],
  ['an HTML page', '<html><body>502</body></html>', 502, 'no reason given'],
  ['nothing', '', 500, 'no reason given'],
])('the error body of %s is read into status and message', (_name, body, status, message) => {
  expect(parseEngineError(body, status)).toEqual({ status, message })
})

test('an error inside a good status is found, and its integer code becomes the status', () => {
  expect(engineErrorIn({ error: { message: 'slow down', code: 429 } })).toEqual({
    status: 429,
    message: 'slow down',
  })
  expect(engineErrorIn({ error: 'died' })).toEqual({ status: 502, message: 'died' })
  expect(engineErrorIn({ choices: [], error: null })).toBeNull()
  expect(engineErrorIn([1])).toBeNull()
})

test('a refusal becomes the error that its status means', () => {
  const codes = [400, 401, 404, 413, 422, 429, 500, 503, 504].map(
    (status) => refusalError({ status, message: 'x' }).code,
  )
  expect(codes).toEqual([
    'invalid_request',
    'engine_failed',
    'model_not_found',
    'body_too_large',
    'invalid_request',
    'rate_limit_exceeded',
    'engine_failed',
    'rate_limit_exceeded',
    'engine_timeout',
  ])
})
