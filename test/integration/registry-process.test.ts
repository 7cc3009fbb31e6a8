/** `openseed registry` as a process: its ready line, death without warning, and a clean end. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openRegistryClient } from '../../src/net/registry-client.ts'
import { announcedSeller } from '../fixtures/announced-seller.ts'
import { startCommand, type Running } from '../fixtures/command.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

function startRegistry(home: string, listen: string): Running {
  const args = [
    main,
    '--home',
    home,
    '--network',
    'local',
    '--json',
    'registry',
    '--listen',
    listen,
    '--p2p-listen',
    '/ip4/127.0.0.1/tcp/0',
  ]
  return startCommand(process.execPath, args, { PATH: process.env['PATH'] ?? '' }, home)
}

test('a registry that is killed comes back as itself and is whole again after one heartbeat', async () => {
  using home = openFolder()
  const seller = announcedSeller(600)
  const record = seller.record()
  await using first = startRegistry(home.path, '127.0.0.1:0')
  const facts = await first.ready
  expect(facts).toMatchObject({ network: 'local', peers: [] })
  const url = String(facts['url'])
  await using client = openRegistryClient(url, { deadlineMs: 10_000 })
  await client.register(record, seller.binding)
  await client.heartbeat(seller.heartbeat())
  first.child.kill('SIGKILL')
  await first.ended

  await using second = startRegistry(home.path, new URL(url).host)
  expect(await second.ready).toMatchObject({ url, peer: facts['peer'] })
  expect(await client.seller(seller.peer)).toBeNull()
  expect(await client.heartbeat(seller.heartbeat())).toEqual({ status: 'need_record' })
  expect(await client.register(record, seller.binding)).toEqual({ status: 'ok' })
  expect(await client.heartbeat(seller.heartbeat())).toEqual({ status: 'ok' })
  expect(await client.seller(seller.peer)).toMatchObject({ record, state: 'live' })

  second.child.kill('SIGTERM')
  expect(await second.ended).toMatchObject({ code: 0, signal: null })
})

function openFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'openseed-registry-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}
