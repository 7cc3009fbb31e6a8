import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { network } from '../../test/fixtures/announced-seller.ts'
import { testDigests } from '../../test/fixtures/buyer-market.ts'
import { silentLog } from '../base/log.ts'
import type { RegistryFeed } from '../net/registry-feed.ts'
import { curve } from '../wire/curve.ts'
import { openDirectory } from './directory.ts'

test('a registry that always has more to tell keeps nobody waiting, and is not asked without end', async () => {
  let asked = 0
  const endless: RegistryFeed = {
    url: 'https://endless.example',
    async next() {
      asked += 1
      return { listings: [], gone: [], refused: 0, isPartial: true }
    },
    close: async () => undefined,
  }
  const directory = await openDirectory({
    network,
    allowPrivate: true,
    allowPlainHttp: true,
    digests: testDigests,
    curve,
    onChange: () => undefined,
    load: async () => null,
    save: async () => undefined,
    now: Date.now,
    log: silentLog,
  })
  directory.add(endless)
  await directory.settled()
  const before = asked
  for (let turn = 0; turn < 100; turn += 1) await nextTurn()
  expect(asked - before).toBeLessThan(2)
  await directory.close()
})
