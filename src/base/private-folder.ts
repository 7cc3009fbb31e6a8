/** Where code of ours is kept between runs: nobody else may write there, for what lies there is run. */
import { lstatSync, mkdirSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'

/** Makes the folder in the user's cache, or among temporary files where that is not to be had. Throws when neither is. */
export function privateFolder(name: string): string {
  const user = process.getuid?.() ?? 'user'
  for (const parent of [join(cacheHome(), 'openseed'), join(tmpdir(), `openseed-${user}`)]) {
    const folder = join(parent, name)
    if (makePrivate(parent) && makePrivate(folder)) return folder
  }
  throw new Error(
    `No private folder can be made in ${cacheHome()} or ${tmpdir()} to keep code of OpenSeed in.`,
  )
}

function cacheHome(): string {
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env
  if (process.platform === 'win32' && LOCALAPPDATA) return LOCALAPPDATA
  return XDG_CACHE_HOME || join(homedir(), '.cache')
}

// Another user who can write to the folder could swap a file between the check and its use.
function makePrivate(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const stat = lstatSync(folder)
    if (process.platform === 'win32') return stat.isDirectory()
    return stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0
  } catch {
    return false
  }
}
