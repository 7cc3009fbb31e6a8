/** What the parties of the lab run: the program as it is shipped, made once for all tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { buildBundle } from '../../scripts/build.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** The folder of the program. */
    program: string
  }
}

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-program-'))
  await buildBundle(folder)
  provide('program', folder)
  return () => rm(folder, { recursive: true })
}
