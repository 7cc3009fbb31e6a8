/** Bundles openseed: dist/openseed.js with its parts, the database thread, and the native addons of this platform. */
import { chmod, copyFile, glob, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type BuildOptions } from 'esbuild'
import { nativeAddonPath } from '../src/base/assets.ts'
import { joinParts } from './join-parts.ts'
import { takeBuiltinsPlainly } from './plain-builtins.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

export const dist = join(root, 'dist')
export const addons = ['better_sqlite3', 'secp256k1'] as const

/** What every bundle has in common. Crash points are compiled out by OPENSEED_BUNDLE. */
export const bundleOptions = {
  entryPoints: {
    openseed: join(root, 'src/main.ts'),
    writer: join(root, 'src/store/writer-thread.ts'),
    recount: join(root, 'src/buyer/recount-thread.ts'),
  },
  bundle: true,
  platform: 'node',
  target: 'node22.19',
  define: { OPENSEED_BUNDLE: 'true' },
  // Folds what OPENSEED_BUNDLE decides. Lines and names stay, so that a stack trace can be read.
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
} as const satisfies BuildOptions

export async function buildBundle(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for await (const old of glob('*.js', { cwd: folder })) await rm(join(folder, old))
  const { outputFiles, metafile } = await build({
    ...bundleOptions,
    write: false,
    metafile: true,
    absWorkingDir: root,
    outdir: folder,
    format: 'esm',
    // What a command does is loaded when it runs: the tokenizer's tables alone would cost every start 100 ms.
    splitting: true,
    chunkNames: 'part-[hash]',
    // CommonJS packages inside an ES module bundle still ask for Node's own modules by require().
    banner: {
      js: "const require=process.getBuiltinModule('node:module').createRequire(import.meta.url);",
    },
  })
  const parts = outputFiles.map(({ path, text }) => ({ path, text: takeBuiltinsPlainly(text) }))
  const joined = await joinParts(parts, metafile, {
    start: 'src/cli/run.ts',
    config: 'src/config/config.ts',
    search: 'src/cli/search-run.ts',
  })
  for (const { path, text } of joined) await writeFile(path, text)
  for (const name of addons) await copyFile(nativeAddonPath(name), join(folder, `${name}.node`))
  await chmod(join(folder, 'openseed.js'), 0o755)
}

if (import.meta.main) await buildBundle(dist)
