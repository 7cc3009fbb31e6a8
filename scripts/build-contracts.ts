/**
 * Compiles the contracts and writes what `src/chain` needs of them to src/chain/artifacts.json.
 * `--check` compares instead of writing and exits 1 when the file is stale.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

type ForgeOutput = { abi: unknown[]; bytecode: { object: string }; deployedBytecode: { object: string } }

const root = new URL('../', import.meta.url)
const target = new URL('src/chain/artifacts.json', root)
const contractNames = ['ChannelEscrow', 'Erc3009Collector', 'TestUsdc']

const forge = fileURLToPath(new URL('scripts/forge.ts', root))
execFileSync(process.execPath, [forge, 'build', '--quiet', 'contracts/src'], {
  stdio: ['ignore', 'ignore', 'inherit'],
})

const artifacts = Object.fromEntries(
  contractNames.map((name) => {
    const file = new URL(`contracts/out/${name}.sol/${name}.json`, root)
    const output = JSON.parse(readFileSync(file, 'utf8')) as ForgeOutput
    const { abi, bytecode, deployedBytecode } = output
    return [name, { abi, bytecode: bytecode.object, deployedBytecode: deployedBytecode.object }]
  }),
)
const text = JSON.stringify(artifacts, null, 2) + '\n'

if (!process.argv.includes('--check')) writeFileSync(target, text)
else if (readFileSync(target, 'utf8') !== text) {
  process.stderr.write('src/chain/artifacts.json is stale: run node scripts/build-contracts.ts\n')
  process.exitCode = 1
}
