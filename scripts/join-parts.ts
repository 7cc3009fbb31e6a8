/**
 * Joins parts of a bundle that are always loaded together. The bundler makes a part of all that the same commands
 * share, down to a few lines, and each file costs a start half a millisecond.
 */
import { basename, dirname, join } from 'node:path'
import { build, type Metafile, type Plugin } from 'esbuild'

interface Part {
  path: string
  text: string
}

type Outputs = ReadonlyMap<string, Metafile['outputs'][string]>

/** The group of each part that is in one. */
type Groups = ReadonlyMap<string, string>

/**
 * Gives all parts anew. `sources` names a source for each group: it and all that it imports, but for what an earlier
 * group has, become one file of the group's name.
 */
export async function joinParts(
  parts: readonly Part[],
  metafile: Metafile,
  sources: Readonly<Record<string, string>>,
): Promise<Part[]> {
  const folder = dirname(parts[0]!.path)
  const texts = new Map(parts.map(({ path, text }) => [basename(path), text]))
  const outputs = new Map(Object.entries(metafile.outputs).map(([path, output]) => [basename(path), output]))
  const groups = groupParts(outputs, sources)

  const joined = Object.keys(sources).map(async (group) => {
    const members = [...groups].flatMap(([part, its]) => (its === group ? [part] : []))
    const toJoin = new Map(members.map((part) => [part, redirect(texts.get(part)!, groups, group)]))
    const contents = members.map((part) => exportAll(outputs, part)).join('\n')
    return { path: join(folder, `${group}.js`), text: await bundleGroup(contents, toJoin, folder) }
  })
  const others = [...texts].map(([part, text]) => {
    const group = groups.get(part)
    // What is imported at run time is asked for by its own name.
    const content = group === undefined ? redirect(text, groups, null) : takeFrom(group, outputs, part)
    return { path: join(folder, part), text: content }
  })
  return [...others, ...(await Promise.all(joined))]
}

function groupParts(outputs: Outputs, sources: Readonly<Record<string, string>>): Groups {
  const groups = new Map<string, string>()
  const gather = (part: string, group: string) => {
    if (groups.has(part)) return
    groups.set(part, group)
    for (const { path, kind } of outputs.get(part)?.imports ?? [])
      if (kind === 'import-statement' && outputs.has(basename(path))) gather(basename(path), group)
  }
  for (const [group, source] of Object.entries(sources)) {
    const [part] = [...outputs].find(([, { entryPoint }]) => entryPoint === source) ?? []
    if (part === undefined) throw new Error(`${source} does not begin a part.`)
    gather(part, group)
  }
  return groups
}

// Parts may export the same names.
const alias = (part: string, name: string) => `${part.replace(/\W/g, '_')}_${name}`

function exportAll(outputs: Outputs, part: string): string {
  const names = outputs.get(part)!.exports.map((name) => `${name} as ${alias(part, name)}`)
  return names.length === 0 ? `import "./${part}";` : `export { ${names.join(', ')} } from "./${part}";`
}

function takeFrom(group: string, outputs: Outputs, part: string): string {
  const names = outputs.get(part)!.exports.map((name) => `${alias(part, name)} as ${name}`)
  return `export { ${names.join(', ')} } from "./${group}.js";\n`
}

// As esbuild writes them: names in braces, or none.
const imports = /^import (?:\{([^}]*)\} from )?"\.\/([^"]+)";$/gm

/** Has imports of joined parts lead to their groups, but for those of its own group. */
function redirect(text: string, groups: Groups, own: string | null): string {
  return text.replace(imports, (statement, names: string | undefined, part: string) => {
    const group = groups.get(part)
    if (group === undefined || group === own) return statement
    if (names === undefined) return `import "./${group}.js";`
    const renamed = names.replace(
      /([\w$]+)(?: as ([\w$]+))?/g,
      (_, name: string, as = name) => `${alias(part, name)} as ${as}`,
    )
    return `import {${renamed}} from "./${group}.js";`
  })
}

async function bundleGroup(
  contents: string,
  texts: ReadonlyMap<string, string>,
  folder: string,
): Promise<string> {
  const members: Plugin = {
    name: 'members',
    setup: (builder) => {
      builder.onResolve({ filter: /^\.\// }, ({ path, kind }) =>
        kind !== 'dynamic-import' && texts.has(basename(path))
          ? { path: basename(path), namespace: 'members' }
          : { path, external: true },
      )
      builder.onLoad({ filter: /./, namespace: 'members' }, ({ path }) => ({ contents: texts.get(path)! }))
    },
  }
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    legalComments: 'none',
    plugins: [members],
  })
  return outputFiles[0]!.text
}
