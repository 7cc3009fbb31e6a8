/**
 * Makes dist/openseed-<platform>-<arch>: the pinned Node, one CommonJS script, and what src/base/assets.ts finds inside
 * as assets. CommonJS, because only such a script may carry a code cache and only such text runs as `eval` in a worker.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { nativeAddonPath } from '../src/base/assets.ts'
import { addons, bundleOptions, dist } from './build.ts'

/** Writes the executable for this platform into the folder and returns its path. */
export async function buildExecutable(folder: string): Promise<string> {
  const [platform, ending] = process.platform === 'win32' ? ['win', '.exe'] : [process.platform, '']
  const target = join(folder, `openseed-${platform}-${process.arch}${ending}`)
  await mkdir(folder, { recursive: true })
  const work = await mkdtemp(join(folder, 'bin-'))
  try {
    await build({
      ...bundleOptions,
      outdir: work,
      outExtension: { '.js': '.cjs' },
      format: 'cjs',
      // assets.ts asks whether there is an import.meta; in the executable there is none, as it expects.
      logOverride: { 'empty-import-meta': 'silent' },
    })
    const output = join(work, 'executable')
    await writeFile(join(work, 'sea.json'), JSON.stringify(seaConfig(work, output)))
    await promisify(execFile)(process.execPath, ['--build-sea', join(work, 'sea.json')])
    await rename(output, target)
  } finally {
    await rm(work, { recursive: true })
  }
  return target
}

function seaConfig(work: string, output: string) {
  return {
    main: join(work, 'openseed.cjs'),
    output,
    executable: process.execPath,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    // NODE_OPTIONS of whoever runs it is about another Node.
    execArgvExtension: 'none',
    assets: {
      'writer.js': join(work, 'writer.cjs'),
      'recount.js': join(work, 'recount.cjs'),
      ...Object.fromEntries(addons.map((name) => [`${name}.node`, nativeAddonPath(name)])),
    },
  }
}

if (import.meta.main) console.log(await buildExecutable(dist))
