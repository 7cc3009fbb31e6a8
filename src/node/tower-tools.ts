/** `openseed watchers`: asks the running seller of this home about its watchtowers. */
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import type { TowerView } from '../seller/tower-desk.ts'
import { callControl } from './control.ts'
import { parseTowerViews } from './seller-towers.ts'

/** A code with which one watchtower can be paired with the running seller of this home. */
export async function makeTowerCode(
  config: Config,
  signal: AbortSignal,
): Promise<{ code: string; untilMs: number }> {
  return (await askSeller(config, 'towerCode', {}, signal)) as { code: string; untilMs: number }
}

/** The watchtowers of the running seller of this home. */
export async function listTowers(config: Config, signal: AbortSignal): Promise<TowerView[]> {
  return parseTowerViews(await askSeller(config, 'towers', {}, signal))
}

/** Lets a watchtower go. Throws `not_found`. */
export async function removeTower(config: Config, peer: string, signal: AbortSignal): Promise<void> {
  const { removed } = (await askSeller(config, 'removeTower', { peer }, signal)) as { removed: boolean }
  if (removed) return
  throw new OpenSeedError('not_found', {
    message: `No watchtower is called ${peer}.`,
    hint: 'openseed watchers list',
  })
}

async function askSeller(
  config: Config,
  name: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
): Promise<unknown> {
  const answer = await callControl(config.paths.seller, name, params, signal)
  if (answer !== null) return answer.value
  throw new OpenSeedError('seller_unreachable', {
    message: 'No seller of this home is running.',
    hint: 'Start it: openseed sell',
  })
}
