import { isBuiltin } from 'node:module'

// As esbuild writes them: a default, names in braces or all as one name.
const imports = /^import (?:([\w$]+)(?:, )?)?(?:\{([^}]*)\}|\* as ([\w$]+))? from "([^"]+)";$/gm

/**
 * Takes Node's own modules without importing them. An import runs every getter of a builtin, for its live bindings, and
 * so loads WebCrypto, file streams and much more that nobody asked for: of a short command's time that is a twentieth.
 * They come first in the file, as imports do.
 */
export function takeBuiltinsPlainly(code: string): string {
  const taken: string[] = []
  const rest = code.replace(imports, (statement, whole?: string, names?: string, all?: string, from = '') => {
    if (!isBuiltin(from)) return statement
    // A file may call its own import of node:process `process`.
    const module = `globalThis.process.getBuiltinModule(${JSON.stringify(from)})`
    for (const name of [whole, all]) if (name) taken.push(`var ${name} = ${module};`)
    if (names) taken.push(`var {${names.replaceAll(' as ', ': ')}} = ${module};`)
    // As many lines as before.
    return statement.replace(/[^\n]/g, '')
  })
  return `${taken.join(' ')}\n${rest}`
}
