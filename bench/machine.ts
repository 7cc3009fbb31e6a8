import { open } from 'node:fs/promises'
import { cpus, platform, release, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Machine, Spread } from './results.ts'
import { spread } from './statistics.ts'

export async function describeMachine(folder: string): Promise<Machine> {
  const cores = cpus()
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown',
    cores: cores.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${platform()} ${release().split(/[-+]/)[0]}`,
    node: process.versions.node,
    fsyncMs: await measureFsync(folder),
  }
}

async function measureFsync(folder: string): Promise<Spread> {
  await using file = await open(join(folder, 'fsync'), 'w')
  const page = Buffer.alloc(4096)
  const times: number[] = []
  for (let round = 0; round < 200; round++) {
    const startedAtMs = performance.now()
    await file.write(page)
    await file.datasync()
    times.push(performance.now() - startedAtMs)
  }
  return spread(times)
}
