/** What a registry takes that lists ten thousand sellers and is a peer among peers: the whole command, at rest. */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { openRegistryClient } from '../../src/net/registry-client.ts'
import { announcedSeller, modelOf } from '../../test/fixtures/announced-seller.ts'
import { startChild, type Child } from '../child.ts'

const atOnce = 8
const deadlineMs = 10_000
const restMs = 2_000
const longestRestMs = 30_000

/** MiB of resident memory. */
export async function measureRegistryMemory(
  folder: string,
  bundle: string,
  sellers: number,
): Promise<number> {
  const general = ['--home', join(folder, 'registry'), '--network', 'local', '--json', 'registry']
  const places = ['--listen', '127.0.0.1:0', '--p2p-listen', '/ip4/127.0.0.1/tcp/0']
  const more = ['--requests-per-sec', '1000000', '--log-level', 'warn']
  await using child = await startChild('registry', { file: bundle, args: [...general, ...places, ...more] })
  await using client = openRegistryClient(child.url, { deadlineMs })
  const waiting = Array.from({ length: sellers }, (_, number) => number).values()
  const register = async () => {
    for (const number of waiting) {
      const seller = announcedSeller(number)
      const models = [modelOf('bench', BigInt(1 + ((number * 7919) % 1_000)))]
      const { status } = await client.register(seller.record({ models }), seller.binding)
      if (status !== 'ok') throw new Error('a record was refused')
    }
  }
  await Promise.all(Array.from({ length: atOnce }, register))
  return await settledRss(child)
}

/** When it no longer falls. */
async function settledRss(child: Child): Promise<number> {
  let last = Infinity
  for (let restedMs = 0; restedMs < longestRestMs; restedMs += restMs) {
    await pause(restMs)
    const { rssKiB } = await child.usage()
    if (rssKiB / 1024 > last - 1) return rssKiB / 1024
    last = rssKiB / 1024
  }
  return last
}
