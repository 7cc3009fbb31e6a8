import { readFile } from 'node:fs/promises'

/** Whole-transaction gas, as the contract tests last recorded it. */
export async function readGas(): Promise<Record<string, number>> {
  const path = new URL('../contracts/snapshots/GasTest.json', import.meta.url)
  const recorded = JSON.parse(await readFile(path, 'utf8')) as Record<string, string>
  return Object.fromEntries(Object.entries(recorded).map(([name, gas]) => [name, Number(gas)]))
}
