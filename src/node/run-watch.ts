/** `openseed watch`: configuration in, a running watchtower out, until the signal says stop. */
import { once } from 'node:events'
import type { Log } from '../base/log.ts'
import type { Config } from '../config/config.ts'
import { checksummed } from '../wire/hex.ts'
import { openKeystore, towerKeyNames } from './keystore.ts'
import { startTowerNode } from './tower-node.ts'

/** What a started watchtower says of itself. */
export interface WatchFacts {
  sellers: readonly string[]
  network: string
  peer: string
  /** pays gas */
  gasAddress: string
}

export interface WatchIo {
  log: Log
  ready: (facts: WatchFacts) => void
  signal: AbortSignal
  /** `isNew`: there is no key yet, and this is to be its password */
  password: (isNew: boolean) => Promise<string>
}

export async function runWatch(config: Config, code: string | undefined, io: WatchIo): Promise<void> {
  const { network, paths, watch } = config
  const keystore = openKeystore(paths.keystore, { names: towerKeyNames })
  const isNew = (await keystore.addresses()).tower === undefined
  const password = await io.password(isNew)
  if (isNew) await keystore.create(password)
  const { tower } = await keystore.unlock(towerKeyNames, password)
  const node = await startTowerNode({
    folder: paths.tower,
    network: network.terms,
    rpcUrls: network.rpcUrls,
    rpcQuorum: config.rpcQuorum,
    escrowCodeHash: config.escrowCodeHash,
    confirmations: network.confirmation.depth,
    key: tower.privateKey,
    sellers: watch.sellers,
    code,
    headStartSec: watch.headStartSec,
    coinPrice: config.sell.coinPrice,
    paysForData: network.paysForData,
    p2p: {
      registries: config.registries,
      bootstrap: config.p2p.bootstrap,
      punch: config.p2p.punch,
      allowPrivate: config.buy.allowPrivate,
    },
    log: io.log,
  })
  io.ready({
    sellers: node.sellers,
    network: network.name,
    peer: node.peer,
    gasAddress: checksummed(node.gasAddress),
  })
  const stopped = io.signal.aborted ? Promise.resolve([]) : once(io.signal, 'abort')
  const failure = await Promise.race([node.failed, stopped.then(() => null)])
  await node.close()
  if (failure !== null) throw failure
}
