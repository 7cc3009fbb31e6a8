import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Env } from './env.ts'

export interface Paths {
  configFile: string
  /** Encrypted keys, the same for every network. */
  keystore: string
  /** What the buyer keeps: one folder per network, because a channel means nothing on another chain. */
  buyer: string
  seller: string
  registry: string
  tower: string
}

/** Where things lie, before the network is known. */
export interface BasePaths {
  configFile: string
  keystore: string
  state: string
}

/** `--home` or OPENSEED_HOME hold everything in one folder; otherwise the platform's own places. */
export function openBasePaths(
  env: Env,
  homeFlag?: string,
  platform: NodeJS.Platform = process.platform,
): BasePaths {
  const home = homeFlag ?? env.home
  if (home) return under(resolve(home), resolve(home), resolve(home))
  const user = env.folders.userHome ?? homedir()
  if (platform === 'win32') {
    const folder = join(env.folders.appData ?? join(user, 'AppData', 'Local'), 'openseed')
    return under(folder, folder, folder)
  }
  if (platform === 'darwin') {
    const folder = join(user, 'Library', 'Application Support', 'openseed')
    return under(folder, folder, folder)
  }
  return under(
    join(env.folders.config ?? join(user, '.config'), 'openseed'),
    join(env.folders.data ?? join(user, '.local', 'share'), 'openseed'),
    join(env.folders.state ?? join(user, '.local', 'state'), 'openseed'),
  )
}

function under(config: string, data: string, state: string): BasePaths {
  return { configFile: join(config, 'config.toml'), keystore: join(data, 'keystore'), state }
}

export function pathsOf(base: BasePaths, networkName: string): Paths {
  return {
    configFile: base.configFile,
    keystore: base.keystore,
    buyer: join(base.state, 'buyer', networkName),
    seller: join(base.state, 'seller', networkName),
    registry: join(base.state, 'registry', networkName),
    tower: join(base.state, 'tower', networkName),
  }
}
