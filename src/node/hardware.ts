/** What this machine has, as the seller announces it. Best effort: what cannot be told is left out. */
import { execFile } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { promisify } from 'node:util'
import type { RecordHardware } from '../wire/seller-record.ts'

const gibibyte = 1024 ** 3
const longestName = 64

export async function detectHardware(): Promise<RecordHardware> {
  const cpu = cleanName(cpus()[0]?.model)
  const ramGiB = Math.round(totalmem() / gibibyte)
  return { ...(await detectGpus()), ...(cpu !== null && { cpu }), ...(ramGiB > 0 && { ramGiB }) }
}

async function detectGpus(): Promise<Pick<RecordHardware, 'gpu' | 'gpus' | 'vramGiB'>> {
  try {
    const asked = ['--query-gpu=name,memory.total', '--format=csv,noheader,nounits']
    const { stdout } = await promisify(execFile)('nvidia-smi', asked, { timeout: 2000 })
    return parseGpus(stdout)
  } catch {
    return {}
  }
}

/** Lines of `name, MiB`. Mixed machines are named by their first GPU; the memory is the sum. */
export function parseGpus(text: string): Pick<RecordHardware, 'gpu' | 'gpus' | 'vramGiB'> {
  const lines = text.split('\n').flatMap((line) => {
    const [, name, mebibytes] = /^(.+),\s*(\d+)\s*$/.exec(line) ?? []
    const gpu = cleanName(name)
    return gpu === null || mebibytes === undefined ? [] : [{ gpu, mebibytes: Number(mebibytes) }]
  })
  const [first] = lines
  if (first === undefined) return {}
  const total = lines.reduce((sum, { mebibytes }) => sum + mebibytes, 0)
  return { gpu: first.gpu, gpus: lines.length, vramGiB: Math.round(total / 1024) }
}

// Only what records may hold: vendors put trademarks, tabs and padding into names.
function cleanName(name: string | undefined): string | null {
  const cleaned = (name ?? '')
    .replace(/[^\x20-\x7e]|\((?:R|TM)\)/gi, ' ')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, longestName)
  return cleaned === '' ? null : cleaned
}
