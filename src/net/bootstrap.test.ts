import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { startRegistry } from '../../test/fixtures/registry.ts'
import { isDomain, lookUpRegistries, openNamedRegistry, usableRegistries } from './bootstrap.ts'

const txt =
  (...texts: string[]) =>
  async () =>
    texts.map((text) => [text])

test('a domain names its registries in TXT records under _openseed', async () => {
  const asked: string[] = []
  const resolveTxt = async (name: string) => {
    asked.push(name)
    return [['registry=https://b.example/'], ['registry=', 'https://a.example'], ['v=spf1 -all']]
  }
  const urls = await lookUpRegistries('openseed.example', { resolveTxt, allowPrivate: false })
  expect(asked).toEqual(['_openseed.openseed.example'])
  expect(urls).toEqual(['https://a.example', 'https://b.example'])
})

test('DNS cannot lead into a private network unless that is allowed', async () => {
  const resolveTxt = txt('registry=http://127.0.0.1:8404', 'registry=https://a.example')
  expect(await lookUpRegistries('x.example', { resolveTxt, allowPrivate: false })).toEqual([
    'https://a.example',
  ])
  expect(await lookUpRegistries('x.example', { resolveTxt, allowPrivate: true })).toHaveLength(2)
})

test.each([
  txt(),
  txt('registry=nonsense'),
  txt('registry=http://169.254.169.254'),
  async () => {
    throw new Error('ENOTFOUND')
  },
])('a domain that names no usable registry is an error (%#)', async (resolveTxt) => {
  await expect(lookUpRegistries('x.example', { resolveTxt, allowPrivate: false })).rejects.toMatchObject({
    code: 'registry_unreachable',
  })
})

test('an answer that does not come is not waited for, and its resolver is told', async () => {
  let isTold = false
  const resolveTxt = (_name: string, signal: AbortSignal) =>
    new Promise<string[][]>(() => signal.addEventListener('abort', () => (isTold = true)))
  const signal = AbortSignal.timeout(20)
  const asked = lookUpRegistries('x.example', { resolveTxt, allowPrivate: false, signal })
  await expect(asked).rejects.toMatchObject({ code: 'registry_unreachable' })
  expect(isTold).toBe(true)
})

test("DNS cannot lead to this machine's own address, and what was kept of its answers is judged again", () => {
  const own = Object.values(networkInterfaces()).flatMap((link) => link ?? [])
  const mine = own.map(({ address, family }) => `http://${family === 'IPv6' ? `[${address}]` : address}:8404`)
  const kept = ['', 'nonsense', 'https://a.example', ...mine]
  expect(usableRegistries(kept, false)).toEqual(['https://a.example'])
})

test('a flood of records makes a short list', async () => {
  const resolveTxt = txt(...Array.from({ length: 500 }, (_, n) => `registry=https://r${n}.example`))
  expect(await lookUpRegistries('x.example', { resolveTxt, allowPrivate: false })).toHaveLength(16)
})

test('what has no scheme is a domain', () => {
  expect(isDomain('openseed.example')).toBe(true)
  expect(isDomain('http://openseed.example')).toBe(false)
})

test('what the name of such a registry leads to is judged when it is asked', async () => {
  await using registry = await startRegistry()
  const named = registry.url.replace('127.0.0.1', 'localhost')
  await using careful = openNamedRegistry(named, { allowPrivate: false })
  await expect(careful.stats()).rejects.toMatchObject({
    code: 'registry_unreachable',
    message: expect.stringContaining('leads into a private network'),
  })
  await using trusting = openNamedRegistry(named, { allowPrivate: true })
  await expect(trusting.stats()).resolves.toBeDefined()
})
