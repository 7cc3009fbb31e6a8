/**
 * The one seam for files that cannot be inside the bundle's text: native addons and worker entries. They come from
 * node_modules and src when run from source, from beside the bundle in dist/, or out of the single executable.
 * Works in the main thread and in worker threads.
 */
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { getRawAsset, isSea } from 'node:sea'
import type { WorkerOptions } from 'node:worker_threads'
import { privateFolder } from './private-folder.ts'

declare const OPENSEED_BUNDLE: boolean | undefined

/** Native addons by the name of their file in dist/ and in the executable: `<name>.node`. */
export type AddonName = 'better_sqlite3' | 'secp256k1'

/** What `new Worker(source, options)` takes. */
export interface WorkerEntry {
  source: URL | string
  options: WorkerOptions
}

const loadedAddons = new Map<AddonName, unknown>()

/** Loads a native addon into this thread and returns its exports. Throws when there is none for this platform. */
export function loadAddon(name: AddonName): unknown {
  if (!loadedAddons.has(name)) {
    const target: { exports: unknown } = { exports: {} }
    process.dlopen(target, nativeAddonPath(name))
    loadedAddons.set(name, target.exports)
  }
  return loadedAddons.get(name)
}

/** The file of a native addon on this platform. Throws when there is none. */
export function nativeAddonPath(name: AddonName): string {
  if (typeof OPENSEED_BUNDLE !== 'undefined' && OPENSEED_BUNDLE) {
    const fileName = `${name}.node`
    return isSea() ? unpackAsset(fileName) : join(besideBundle(), fileName)
  }
  return findInstalledAddon(name)
}

const sourceOfWorker = {
  writer: '../store/writer-thread.ts',
  recount: '../buyer/recount-thread.ts',
}

/** Worker threads by the name of their file in dist/ and in the executable: `<name>.js`. */
export type WorkerName = keyof typeof sourceOfWorker

/** Where a worker thread starts. */
export function workerEntry(name: WorkerName): WorkerEntry {
  if (typeof OPENSEED_BUNDLE !== 'undefined' && OPENSEED_BUNDLE) {
    const fileName = `${name}.js`
    if (isSea()) return { source: Buffer.from(getRawAsset(fileName)).toString(), options: { eval: true } }
    return { source: join(besideBundle(), fileName), options: {} }
  }
  return { source: new URL(sourceOfWorker[name], import.meta.url), options: {} }
}

// An ESM bundle has import.meta.dirname, a CommonJS one has __dirname.
function besideBundle(): string {
  return import.meta.dirname ?? __dirname
}

const packageOfAddon: Record<AddonName, string> = { better_sqlite3: 'better-sqlite3', secp256k1: 'secp256k1' }

function findInstalledAddon(name: AddonName): string {
  const folder = dirname(createRequire(import.meta.url).resolve(`${packageOfAddon[name]}/package.json`))
  const target = `${process.platform}-${process.arch}`
  const libc = isMusl() ? 'musl' : 'glibc'
  const candidates = [
    join(folder, 'build', 'Release', `${name}.node`),
    join(folder, 'prebuilds', libc === 'musl' ? `linuxmusl-${process.arch}.node` : `${target}.node`),
    join(folder, 'prebuilds', target, `${name}.${libc}.node`),
    join(folder, 'prebuilds', target, `${name}.node`),
  ]
  const found = candidates.find((path) => existsSync(path))
  if (!found) throw new Error(`${packageOfAddon[name]} has no native addon for ${target} (${libc}).`)
  return found
}

// The loader mapped into this process decides; a musl loader may be installed beside glibc without being used.
function isMusl(): boolean {
  return process.platform === 'linux' && readFileSync('/proc/self/maps', 'latin1').includes('/ld-musl-')
}

/** Writes an asset of the executable to the private cache folder and returns its path. What is there is trusted by hash only. */
function unpackAsset(fileName: string): string {
  const bytes = Buffer.from(getRawAsset(fileName))
  const hash = sha256(bytes)
  const path = join(privateFolder(hash), fileName)
  if (existsSync(path) && sha256(readFileSync(path)) === hash) return path
  // Written beside and renamed, so that a second process starting now never loads half a file.
  const draft = `${path}.${randomUUID()}`
  writeFileSync(draft, bytes, { mode: 0o600, flag: 'wx' })
  renameSync(draft, path)
  return path
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
