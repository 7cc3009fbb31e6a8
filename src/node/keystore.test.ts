import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encryptKeystoreJson, HDNodeWallet, Wallet } from 'ethers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Hex } from '../wire/hex.ts'
import { keyNames, openKeystore, parseSecret } from './keystore.ts'

const scryptN = 1024
const password = 'correct horse'
const devPhrase = 'test test test test test test test test test test test junk'
const devKey: Hex = '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80'
const devAddress = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266'

let parent: string
let folder: string

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'keystore-'))
  folder = join(parent, 'keystore')
})

afterEach(() => rm(parent, { recursive: true }))

const noPassword = () => Promise.reject(new Error('asked for a password'))

test('a created wallet has three different keys and shows their addresses without a password', async () => {
  const created = await openKeystore(folder, { scryptN }).create(password)
  expect(new Set(Object.values(created)).size).toBe(3)
  expect(await openKeystore(folder).addresses()).toEqual(created)
})

test('where no wallet can be kept, the error says where and what to do', async () => {
  await symlink(join(parent, 'gone', 'away'), folder)
  await expect(openKeystore(folder, { scryptN }).create(password)).rejects.toMatchObject({
    code: 'store_unavailable',
    message: expect.stringContaining(folder),
    hint: expect.stringContaining('--home'),
  })
})

test('key files are private to the owner and nothing else is left in the folder', async () => {
  await openKeystore(folder, { scryptN }).create(password)
  const files = await readdir(folder)
  expect(files.toSorted()).toEqual(['buyer-authorizer.json', 'payer.json', 'seller-authorizer.json'])
  expect((await stat(folder)).mode & 0o777).toBe(0o700)
  for (const file of files) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600)
})

test('the right password opens exactly the keys that were asked for', async () => {
  const keystore = openKeystore(folder, { scryptN })
  const addresses = await keystore.create(password)
  const keys = await keystore.unlock(['buyer-authorizer'], password)
  expect(Object.keys(keys)).toEqual(['buyer-authorizer'])
  expect(keys['buyer-authorizer'].address).toBe(addresses['buyer-authorizer'])
  expect(new Wallet(keys['buyer-authorizer'].privateKey).address.toLowerCase()).toBe(
    addresses['buyer-authorizer'],
  )
})

test('a wrong password is refused by name, also when it would complete a wallet', async () => {
  const keystore = openKeystore(folder, { scryptN })
  await keystore.create(password)
  await expect(keystore.unlock(['payer'], 'wrong')).rejects.toMatchObject({ code: 'wallet_password_wrong' })
  await rm(join(folder, 'payer.json'))
  await expect(keystore.create('wrong')).rejects.toMatchObject({ code: 'wallet_password_wrong' })
})

test('a wallet is never overwritten, by create or by import', async () => {
  const keystore = openKeystore(folder, { scryptN })
  await keystore.create(password)
  const before = await readFile(join(folder, 'payer.json'), 'utf8')
  await expect(keystore.create(password)).rejects.toMatchObject({ code: 'wallet_exists' })
  await expect(keystore.importPayer(devKey, password)).rejects.toMatchObject({ code: 'wallet_exists' })
  expect(await readFile(join(folder, 'payer.json'), 'utf8')).toBe(before)
})

test('two wallets created at the same moment end as one', async () => {
  const attempts = await Promise.allSettled(
    [1, 2].map(() => openKeystore(folder, { scryptN }).create(password)),
  )
  expect(attempts.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(2)
  expect((await readdir(folder)).filter((file) => file.endsWith('.draft'))).toEqual([])
  const complete = await openKeystore(folder, { scryptN })
    .create(password)
    .catch((error: { code: string }) => error.code)
  expect(complete === 'wallet_exists' || typeof complete === 'object').toBe(true)
  await openKeystore(folder).unlock(keyNames, password)
})

test('an imported key becomes the payer and the other keys are made', async () => {
  const keystore = openKeystore(folder, { scryptN })
  const addresses = await keystore.importPayer(devKey, password)
  expect(addresses.payer).toBe(devAddress)
  expect((await keystore.unlock(['payer'], password)).payer.privateKey).toBe(devKey)
  expect(Object.keys(addresses).length).toBe(3)
})

test('the files are standard: ethers alone opens them', async () => {
  const keystore = openKeystore(folder, { scryptN })
  await keystore.importPayer(devKey, password)
  const wallet = Wallet.fromEncryptedJsonSync(await keystore.readEncrypted('payer'), password)
  expect(wallet.privateKey).toBe(devKey)
})

test('a missing wallet and a damaged one say so', async () => {
  const keystore = openKeystore(folder, { scryptN })
  expect(await keystore.addresses()).toEqual({})
  await expect(keystore.unlock(['payer'], password)).rejects.toMatchObject({ code: 'wallet_missing' })
  await keystore.create(password)
  await chmod(join(folder, 'payer.json'), 0o600)
  await writeFile(join(folder, 'payer.json'), '{"version":3}')
  await expect(keystore.addresses()).rejects.toMatchObject({ code: 'wallet_locked' })
})

test('an empty password is refused', async () => {
  await expect(openKeystore(folder, { scryptN }).create('')).rejects.toMatchObject({ code: 'wallet_locked' })
})

test('a secret is understood as hex key, as recovery phrase and as keystore file', async () => {
  expect(await parseSecret(`${devKey}\n`, noPassword)).toBe(devKey)
  expect(await parseSecret(devKey.slice(2).toUpperCase(), noPassword)).toBe(devKey)
  expect(await parseSecret(` ${devPhrase.replaceAll(' ', '  ')} `, noPassword)).toBe(devKey)
  expect(HDNodeWallet.fromPhrase(devPhrase).privateKey).toBe(devKey)
  const file = await encryptKeystoreJson({ address: devAddress, privateKey: devKey }, 'other', {
    scrypt: { N: scryptN },
  })
  expect(await parseSecret(file, () => Promise.resolve('other'))).toBe(devKey)
})

test('what is no secret is refused without being quoted', async () => {
  const zero = '0x' + '0'.repeat(64)
  await expect(parseSecret('', noPassword)).rejects.toMatchObject({ code: 'invalid_request' })
  for (const content of ['hello', zero, '0x1234', devPhrase.replace('junk', 'test')]) {
    const error = await parseSecret(content, noPassword).catch((thrown: Error) => thrown)
    expect(error).toMatchObject({ code: 'invalid_request' })
    expect((error as Error).message).not.toContain(content)
  }
})
