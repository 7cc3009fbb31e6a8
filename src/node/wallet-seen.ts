/** What the chain said last, kept beside the buyer's database so that it can be told when no RPC answers. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseAmount, type Usdc } from '../wire/amount.ts'
import { expectArray, expectInteger, expectObject, expectText, expectUint } from '../wire/fields.ts'

export interface SeenWallet {
  wallet: string
  block: number
  atMs: number
  usdc: Usdc
  wei: bigint
  channels: SeenChannel[]
}

export interface SeenChannel {
  id: string
  balance: Usdc
  totalClaimed: Usdc
  withdrawAmount: Usdc
  withdrawInitiatedAtSec: number
}

const fileName = 'wallet-seen.json'
const mostChannels = 100_000

/** Null when nothing was ever seen of this wallet, or the file cannot be read. */
export async function readSeen(folder: string, wallet: string): Promise<SeenWallet | null> {
  try {
    const seen = parseSeen(JSON.parse(await readFile(join(folder, fileName), 'utf8')))
    return seen.wallet === wallet ? seen : null
  } catch {
    return null // A comfort, not a record: the next look at the chain writes it anew.
  }
}

export async function writeSeen(folder: string, seen: SeenWallet): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, fileName)
  const draft = `${path}.${process.pid}`
  const text = JSON.stringify(seen, (_key, part: unknown) =>
    typeof part === 'bigint' ? part.toString() : part,
  )
  await writeFile(draft, text, { mode: 0o600 })
  await rename(draft, path)
}

function parseSeen(input: unknown): SeenWallet {
  const { wallet, block, atMs, usdc, wei, channels } = expectObject(input, fileName)
  return {
    wallet: expectText(wallet, 'wallet'),
    block: expectInteger(block, 'block'),
    atMs: expectInteger(atMs, 'atMs'),
    usdc: parseAmount(usdc, 'usdc'),
    wei: expectUint(wei, 'wei', 256),
    channels: expectArray(channels, 'channels', mostChannels).map(parseChannel),
  }
}

function parseChannel(input: unknown): SeenChannel {
  const { id, balance, totalClaimed, withdrawAmount, withdrawInitiatedAtSec } = expectObject(input, 'channel')
  return {
    id: expectText(id, 'id'),
    balance: parseAmount(balance, 'balance'),
    totalClaimed: parseAmount(totalClaimed, 'totalClaimed'),
    withdrawAmount: parseAmount(withdrawAmount, 'withdrawAmount'),
    withdrawInitiatedAtSec: expectInteger(withdrawInitiatedAtSec, 'withdrawInitiatedAtSec'),
  }
}
