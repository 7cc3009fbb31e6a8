import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { networks } from '../../src/config/networks.ts'
import { openKeystore } from '../../src/node/keystore.ts'
import { openTestChain } from '../fixtures/chain.ts'
import { recordModel } from '../fixtures/records.ts'
import { startScriptedEngine } from '../fixtures/scripted-engine.ts'
import { announce, runOpenseed, startTestRegistry } from '../fixtures/search-market.ts'
import { openTestSeller } from '../fixtures/seller.ts'

test('with a wallet that opens and a yes, --probe pays for a token and times it', async () => {
  await using stack = new AsyncDisposableStack()
  const home = await mkdtemp(join(tmpdir(), 'search-paid-'))
  stack.defer(() => rm(home, { recursive: true }))
  const chain = stack.use(await openTestChain())
  expect(chain.network.escrow).toBe(networks.local.terms.escrow)
  const engine = stack.use(await startScriptedEngine())
  const seller = stack.use(await openTestSeller(chain, engine.url))
  const registry = stack.use(await startTestRegistry(911))
  await announce([registry], 21, { url: seller.url, addrs: [], models: [recordModel({ id: 'test-model' })] })
  const { payer } = await openKeystore(join(home, 'keystore'), { scryptN: 1024 }).create('hush')
  await chain.fund([{ address: payer, usdc: 10_000_000n }])

  const probe = (...more: string[]) =>
    runOpenseed(home, ['search', '--probe', '--registry', registry.url, '--rpc-url', chain.url, ...more], {
      variables: { OPENSEED_PASSWORD: 'hush' },
    })
  const unasked = await probe('--fields', 'ttft')
  expect(unasked.stdout).toBe('TTFT\n   -\n')
  expect(unasked.stderr).toContain('which --yes allows')

  const paid = await probe('--yes', '--json')
  expect(paid.code).toBe(0)
  const { rows } = JSON.parse(paid.stdout) as { rows: { ttft: number; measured: string[] }[] }
  expect(rows[0]!.ttft).toBeGreaterThan(0)
  expect(rows[0]!.measured).toEqual(expect.arrayContaining(['rtt', 'ttft']))
})
