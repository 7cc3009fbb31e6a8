/** The wallet: Web3 Secret Storage (version 3) files, one for each key. Written once, never overwritten, readable by the owner only. */
import { randomBytes, scrypt as nativeScrypt } from 'node:crypto'
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import {
  computeAddress,
  decryptKeystoreJson,
  encryptKeystoreJson,
  HDNodeWallet,
  isError,
  isKeystoreJson,
  Mnemonic,
  scrypt,
} from 'ethers'
import { OpenSeedError } from '../base/errors.ts'
import { asAddress, bytesToHex, type Address, type Hex } from '../wire/hex.ts'

/**
 * payer: holds the buyer's USDC and signs deposits. buyer-authorizer: signs vouchers and requests.
 * seller-authorizer: signs offers and receipts, and pays the gas of deposits and claims.
 */
export const keyNames = ['payer', 'buyer-authorizer', 'seller-authorizer'] as const
export type KeyName = (typeof keyNames)[number]

/** tower: pays the gas of a watchtower's claims, and can do nothing else. No part of the wallet. */
export const towerKeyNames = ['tower'] as const

export interface UnlockedKey {
  address: Address
  privateKey: Hex
}

export interface Keystore<Name extends string = KeyName> {
  /** What is there, read without a password. */
  addresses(): Promise<Partial<Record<Name, Address>>>
  /** Makes every key that is missing. Throws `wallet_exists` when none is. */
  create(password: string): Promise<Record<Name, Address>>
  /** Takes this key as the payer and makes the others where missing. Throws `wallet_exists` when there is a payer. */
  importPayer(privateKey: Hex, password: string): Promise<Record<Name, Address>>
  /** Throws `wallet_missing` or `wallet_password_wrong`. */
  unlock<N extends Name>(names: readonly N[], password: string): Promise<Record<N, UnlockedKey>>
  /** The encrypted file itself, as other wallets import it. */
  readEncrypted(name: Name): Promise<string>
}

/** ethers' own scrypt is many times slower and blocks the thread. */
scrypt.register(async (password, salt, N, r, p, keyLength) => {
  const options = { N, r, p, maxmem: 256 * N * r }
  const key = await new Promise<Buffer>((resolve, reject) => {
    nativeScrypt(password, salt, keyLength, options, (error, derived) =>
      error ? reject(error) : resolve(derived),
    )
  })
  return bytesToHex(key)
})

/** `scryptN` is the work factor of new files; what is read says its own. */
export function openKeystore(folder: string, options?: { scryptN?: number }): Keystore
export function openKeystore<Name extends string>(
  folder: string,
  options: { scryptN?: number; names: readonly Name[] },
): Keystore<Name>
export function openKeystore(
  folder: string,
  { scryptN = 131_072, names = keyNames }: { scryptN?: number; names?: readonly string[] } = {},
): Keystore<string> {
  const fileOf = (name: string) => join(folder, `${name}.json`)

  async function readEncrypted(name: string): Promise<string> {
    const json = await readIfThere(fileOf(name))
    if (json === null) throw walletMissing(folder)
    return json
  }

  async function addresses() {
    const found: Record<string, Address> = {}
    for (const name of names) {
      const json = await readIfThere(fileOf(name))
      if (json !== null) found[name] = addressIn(json, fileOf(name))
    }
    return found
  }

  async function unlock<N extends string>(wanted: readonly N[], password: string) {
    const keys = await Promise.all(
      wanted.map(async (name) => [name, await decrypt(await readEncrypted(name), password, name)] as const),
    )
    return Object.fromEntries(keys) as Record<N, UnlockedKey>
  }

  async function addMissing(password: string, payerKey?: Hex): Promise<Record<string, Address>> {
    refuseEmpty(password)
    const present = await addresses()
    // All keys share one password, so a wallet that is being completed must open with it.
    const [witness] = names.filter((name) => present[name] !== undefined)
    if (witness) await unlock([witness], password)

    const missing = names.filter((name) => present[name] === undefined)
    const files = await Promise.all(
      missing.map(async (name) => {
        const privateKey = name === 'payer' && payerKey ? payerKey : bytesToHex(randomBytes(32))
        const account = { address: computeAddress(privateKey), privateKey }
        const json = await encryptKeystoreJson(account, password, { scrypt: { N: scryptN } })
        return { path: fileOf(name), json, name, address: asAddress(account.address) }
      }),
    )
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      for (const { path, json } of files) await writeOnce(folder, path, json)
    } catch (error) {
      throw error instanceof OpenSeedError ? error : cannotWrite(folder, error)
    }
    for (const { name, address } of files) present[name] = address
    return present
  }

  return {
    addresses,
    unlock,
    readEncrypted,
    async create(password) {
      const present = await addresses()
      if (names.every((name) => present[name])) throw walletExists(folder)
      return addMissing(password)
    },
    async importPayer(privateKey, password) {
      if ((await addresses())['payer']) throw walletExists(folder)
      return addMissing(password, privateKey)
    },
  }
}

/** A private key in hex, a version 3 JSON file or a BIP-39 phrase (its first account), as a private key. */
export async function parseSecret(content: string, filePassword: () => Promise<string>): Promise<Hex> {
  const secret = content.trim()
  if (isKeystoreJson(secret)) return (await decrypt(secret, await filePassword(), 'imported file')).privateKey
  if (/^(0x)?[0-9a-f]{64}$/i.test(secret)) return checkedKey(`0x${secret.slice(-64).toLowerCase()}`)
  const phrase = secret.toLowerCase().split(/\s+/).join(' ')
  if (!Mnemonic.isValidMnemonic(phrase)) {
    throw new OpenSeedError('invalid_request', {
      message: 'That is no private key in hex, no keystore file and no valid recovery phrase.',
    })
  }
  return HDNodeWallet.fromPhrase(phrase).privateKey as Hex
}

function checkedKey(privateKey: Hex): Hex {
  try {
    computeAddress(privateKey)
    return privateKey
  } catch {
    // Without the cause: it quotes the key.
    throw new OpenSeedError('invalid_request', { message: 'The private key is not valid on secp256k1.' })
  }
}

async function decrypt(json: string, password: string, name: string): Promise<UnlockedKey> {
  try {
    const { address, privateKey } = await decryptKeystoreJson(json, password)
    return { address: asAddress(address), privateKey: privateKey as Hex }
  } catch (error) {
    if (isError(error, 'INVALID_ARGUMENT') && error.argument === 'password') {
      throw new OpenSeedError('wallet_password_wrong', { message: `The password does not open ${name}.` })
    }
    throw new OpenSeedError('wallet_locked', { message: `The key file of ${name} is damaged.`, cause: error })
  }
}

function addressIn(json: string, path: string): Address {
  try {
    const { address } = JSON.parse(json) as { address?: unknown }
    return asAddress(typeof address === 'string' ? `0x${address.replace(/^0x/i, '')}` : address)
  } catch (error) {
    throw new OpenSeedError('wallet_locked', { message: `${path} is no keystore file.`, cause: error })
  }
}

/** Linking, unlike renaming, fails when the name is taken: two commands at once cannot replace each other's key. */
function cannotWrite(folder: string, cause: unknown): OpenSeedError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new OpenSeedError('store_unavailable', {
    message: `The wallet cannot be kept in ${folder}: ${reason}.`,
    hint: 'Check that the folder can be written to, or name another place with --home.',
    cause,
  })
}

async function writeOnce(folder: string, path: string, content: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}.draft`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
    await link(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw walletExists(folder)
    throw error
  } finally {
    await file.close()
    await unlink(draft)
  }
  // Windows has no handle on a folder; its journal keeps the entry.
  if (process.platform === 'win32') return
  const entries = await open(folder)
  try {
    await entries.sync()
  } finally {
    await entries.close()
  }
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function refuseEmpty(password: string): void {
  if (password === '') {
    throw new OpenSeedError('wallet_locked', { message: 'The password is empty.', hint: 'Choose another.' })
  }
}

function walletMissing(folder: string): OpenSeedError {
  return new OpenSeedError('wallet_missing', {
    message: `There is no wallet in ${folder} yet.`,
    hint: 'openseed wallet create',
  })
}

function walletExists(folder: string): OpenSeedError {
  return new OpenSeedError('wallet_exists', {
    message: `There is a wallet in ${folder} already.`,
    hint: 'openseed wallet show, or --home to keep another wallet elsewhere',
  })
}
