/** `npm run bench`: see docs/benchmarks.md for what is compared. `--quick`, `--json`, `--write`, `--profile FOLDER`. */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { measureAll } from './measure.ts'
import { pageOf, summaryOf } from './page.ts'
import { sectionsOf } from './table.ts'

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    profile: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const results = await measureAll({ ...flags, note: (text) => process.stderr.write(`${text}\n`) })

if (flags.json) console.log(JSON.stringify(results))
else {
  console.log(`\n${summaryOf(results)}`)
  for (const { title, table } of sectionsOf(results)) console.log(`\n${title}\n\n${table}`)
}
if (flags.write) await writeFile(new URL('../docs/benchmarks.md', import.meta.url), pageOf(results))
