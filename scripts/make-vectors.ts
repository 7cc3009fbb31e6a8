/**
 * Writes the EIP-712 vectors that vitest and forge both read. Everything is computed by ethers alone and
 * imports nothing of src/, so that the files are an independent check of our own digest code.
 * `--check` compares instead of writing, recovers the signers of what forge signed, and exits 1 when anything differs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { AbiCoder, TypedDataEncoder, Wallet, id, keccak256, verifyTypedData } from 'ethers'
import type { TypedDataDomain, TypedDataField } from 'ethers'

type Fields = Record<string, TypedDataField[]>
type Message = Record<string, unknown>
type Domain = { name: string; version: string; chainId: number; verifyingContract: string }

const vectorsDir = new URL('../test/vectors/', import.meta.url)

const escrow = '0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003'
const collector = '0x4020806089470a89826cB9fB1f4059150b550004'
const baseUsdc = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913'
const baseSepoliaUsdc = '0x036CbD53842c5426634e7929541eC2318f3dCF7e'

// The published development keys of anvil and hardhat ("test test ... junk"), accounts 0 to 4.
const devKeys = [
  '0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80',
  '0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d',
  '0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a',
  '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6',
  '0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a',
]
const wallets = devKeys.map((key) => new Wallet(key))

const fieldsOf = (list: string): TypedDataField[] =>
  list.split(',').map((field) => {
    const [type = '', name = ''] = field.trim().split(' ')
    return { name, type }
  })

const types: Record<string, Fields> = {
  ChannelConfig: {
    ChannelConfig: fieldsOf(
      'address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt',
    ),
  },
  Voucher: { Voucher: fieldsOf('bytes32 channelId,uint128 maxClaimableAmount') },
  Refund: { Refund: fieldsOf('bytes32 channelId,uint256 nonce,uint128 amount') },
  ClaimBatch: {
    ClaimBatch: fieldsOf('ClaimEntry[] claims'),
    ClaimEntry: fieldsOf('bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed'),
  },
  ReceiveWithAuthorization: {
    ReceiveWithAuthorization: fieldsOf(
      'address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce',
    ),
  },
  TransferWithAuthorization: {
    TransferWithAuthorization: fieldsOf(
      'address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce',
    ),
  },
  Permit: { Permit: fieldsOf('address owner,address spender,uint256 value,uint256 nonce,uint256 deadline') },
  Offer: {
    Offer: fieldsOf(
      'bytes32 modelHash,address payTo,uint128 priceIn,uint128 priceCached,uint128 priceOut,uint128 fixedPrice,uint64 maxContext,uint64 maxOutput,uint40 validUntil,bytes32 detailsHash',
    ),
  },
  Request: {
    Request: fieldsOf(
      'bytes32 channelId,bytes32 requestId,bytes32 bodyHash,bytes32 offerHash,uint128 ceiling,uint40 admitBy',
    ),
  },
  Receipt: {
    Receipt: fieldsOf(
      'bytes32 channelId,bytes32 requestId,bytes32 offerHash,bytes32 responseHash,uint64 inputTokens,uint64 cachedTokens,uint64 outputTokens,uint128 charged,uint128 cumulative,uint40 completedAt',
    ),
  },
}

function fieldsFor(type: string): Fields {
  const fields = types[type]
  if (!fields) throw new Error(`no such type: ${type}`)
  return fields
}

const batchDomain = (chainId: number): Domain => ({
  name: 'x402 Batch Settlement',
  version: '1',
  chainId,
  verifyingContract: escrow,
})
const openSeedDomain = (chainId: number): Domain => ({
  name: 'OpenSeed',
  version: '1',
  chainId,
  verifyingContract: escrow,
})
const tokenDomain: Domain = {
  name: 'USDC',
  version: '2',
  chainId: 84532,
  verifyingContract: baseSepoliaUsdc,
}

const digestOf = (domain: TypedDataDomain, type: string, message: Message): string =>
  TypedDataEncoder.hash(domain, fieldsFor(type), message)

function signedCase(type: string, domain: Domain, message: Message, keyIndex: number) {
  const wallet = wallets[keyIndex % wallets.length]
  if (!wallet) throw new Error('no such key')
  const digest = digestOf(domain, type, message)
  return {
    type,
    domain,
    message,
    digest,
    signer: wallet.address,
    signature: wallet.signingKey.sign(digest).serialized,
  }
}

function addressOf(keyIndex: number): string {
  const wallet = wallets[keyIndex]
  if (!wallet) throw new Error('no such key')
  return wallet.address
}

const max = (bits: number): string => ((1n << BigInt(bits)) - 1n).toString()
const zeroHash = '0x' + '0'.repeat(64)
const fullHash = '0x' + 'f'.repeat(64)
const zeroAddress = '0x' + '0'.repeat(40)

const config = {
  payer: addressOf(1),
  payerAuthorizer: addressOf(1),
  receiver: addressOf(2),
  receiverAuthorizer: addressOf(4),
  token: baseUsdc,
  withdrawDelay: '86400',
  salt: '0x' + '1'.padStart(64, '0'),
}

/** One message of each type with ordinary values: what a first implementation is checked against. */
function sampleMessages(
  channelId: string,
): Record<string, { domain: Domain; key: number; message: Message }> {
  const authorization = {
    from: addressOf(1),
    to: collector,
    value: '10000',
    validAfter: '0',
    validBefore: '1900000000',
    nonce: depositNonce(channelId, 2n),
  }
  return {
    ChannelConfig: { domain: batchDomain(8453), key: 1, message: config },
    Voucher: { domain: batchDomain(8453), key: 1, message: { channelId, maxClaimableAmount: '1000' } },
    Refund: { domain: batchDomain(8453), key: 4, message: { channelId, nonce: '0', amount: '500' } },
    ClaimBatch: {
      domain: batchDomain(8453),
      key: 4,
      message: { claims: [{ channelId, maxClaimableAmount: '1000', totalClaimed: '700' }] },
    },
    ReceiveWithAuthorization: { domain: tokenDomain, key: 1, message: authorization },
    TransferWithAuthorization: {
      domain: tokenDomain,
      key: 1,
      message: { ...authorization, to: addressOf(2) },
    },
    Permit: {
      domain: tokenDomain,
      key: 1,
      message: {
        owner: addressOf(1),
        spender: addressOf(2),
        value: '10000',
        nonce: '0',
        deadline: '1900000000',
      },
    },
    Offer: {
      domain: openSeedDomain(31337),
      key: 4,
      message: {
        modelHash: id('llama3.2:1b'),
        payTo: addressOf(2),
        priceIn: '150000',
        priceCached: '75000',
        priceOut: '600000',
        fixedPrice: '0',
        maxContext: '131072',
        maxOutput: '8192',
        validUntil: '1900000000',
        detailsHash: id('{"defOut":2048,"img":4096,"maxN":4,"min":1}'),
      },
    },
    Request: {
      domain: openSeedDomain(31337),
      key: 1,
      message: {
        channelId,
        requestId: id('request 1'),
        bodyHash: id('{"model":"m","messages":[{"role":"user","content":"hi"}]}'),
        offerHash: id('offer 1'),
        ceiling: '1300',
        admitBy: '1800000120',
      },
    },
    Receipt: {
      domain: openSeedDomain(31337),
      key: 4,
      message: {
        channelId,
        requestId: id('request 1'),
        offerHash: id('offer 1'),
        responseHash: id('response 1'),
        inputTokens: '57',
        cachedTokens: '0',
        outputTokens: '200',
        charged: '129',
        cumulative: '700',
        completedAt: '1800000003',
      },
    },
  }
}

function depositNonce(channelId: string, salt: bigint): string {
  return keccak256(AbiCoder.defaultAbiCoder().encode(['bytes32', 'uint256'], [channelId, salt]))
}

/** The least and the greatest value that a field can hold: catches a wrong width, order or padding. */
function extremeMessage(type: string, greatest: boolean): Message {
  const fields = fieldsFor(type)
  const valueOf = (fieldType: string): unknown => {
    if (fieldType === 'ClaimEntry[]') {
      const entry = () => Object.fromEntries((fields.ClaimEntry ?? []).map((f) => [f.name, valueOf(f.type)]))
      return greatest ? [entry(), entry(), entry()] : [entry()]
    }
    if (fieldType === 'address') return greatest ? '0xFFfFfFffFFfffFFfFFfFFFFFffFFFffffFfFFFfF' : zeroAddress
    if (fieldType === 'bytes32') return greatest ? fullHash : zeroHash
    return greatest ? max(Number(fieldType.slice('uint'.length))) : '0'
  }
  return Object.fromEntries((fields[type] ?? []).map((field) => [field.name, valueOf(field.type)]))
}

function conformance() {
  const domain = batchDomain(8453)
  const channelId = digestOf(domain, 'ChannelConfig', config)
  const voucher = { channelId, maxClaimableAmount: '1000' }
  const refund = { channelId, nonce: '0', amount: '500' }
  const claimBatch = { claims: [{ channelId, maxClaimableAmount: '1000', totalClaimed: '700' }] }
  const { signature, signer } = signedCase('Voucher', domain, voucher, 1)
  const typehash = (type: string) => id(TypedDataEncoder.from(fieldsFor(type)).encodeType(type))
  return {
    about:
      'Conformance vector of the x402 batch-settlement scheme on EVM: Base, the canonical escrow, anvil development keys 1 (payer), 2 (receiver) and 4 (receiverAuthorizer). Integers are decimal strings.',
    domain,
    typehashes: {
      ChannelConfig: typehash('ChannelConfig'),
      Voucher: typehash('Voucher'),
      Refund: typehash('Refund'),
      ClaimBatch: typehash('ClaimBatch'),
      ClaimEntry: id(TypedDataEncoder.from(fieldsFor('ClaimBatch')).encodeType('ClaimEntry')),
    },
    config,
    channelId,
    voucher: { message: voucher, digest: digestOf(domain, 'Voucher', voucher), signer, signature },
    refund: { message: refund, digest: digestOf(domain, 'Refund', refund) },
    claimBatch: { message: claimBatch, digest: digestOf(domain, 'ClaimBatch', claimBatch) },
    deposit: { salt: '2', nonce: depositNonce(channelId, 2n) },
  }
}

function typeSamples(channelId: string) {
  const samples = sampleMessages(channelId)
  return {
    about:
      'Every EIP-712 type in use: its type string, its typehash and one signed message with ordinary values. Integers are decimal strings.',
    types: Object.fromEntries(
      Object.entries(types).map(([type, fields]) => {
        const encodeType = TypedDataEncoder.from(fields).encodeType(type)
        return [type, { encodeType, typehash: id(encodeType) }]
      }),
    ),
    cases: Object.entries(samples).map(([type, s]) => signedCase(type, s.domain, s.message, s.key)),
  }
}

function signedByTypescript(channelId: string) {
  const cases = Object.entries(sampleMessages(channelId)).flatMap(([type, sample], index) => [
    signedCase(type, sample.domain, sample.message, index + 1),
    signedCase(type, { ...sample.domain, chainId: 31337 }, extremeMessage(type, false), index + 2),
    signedCase(type, { ...sample.domain, chainId: 84532 }, extremeMessage(type, true), index + 3),
  ])
  return {
    about:
      'Messages signed by ethers; forge recovers the signers. Per type: ordinary values, all least, all greatest.',
    cases,
  }
}

interface SignedCase {
  type: string
  domain: Domain
  message: Message
  digest: string
  signer: string
  signature: string
}

/** Forge's own file is written by forge; ethers only says whether it agrees with every line of it. */
function disagreementsWithForge(): string[] {
  const text = readFileSync(new URL('signed-by-forge.json', vectorsDir), 'utf8')
  const { cases } = JSON.parse(text) as { cases: SignedCase[] }
  return cases
    .filter(({ type, domain, message, digest, signer, signature }) => {
      const recovered = verifyTypedData(domain, fieldsFor(type), message, signature)
      return recovered !== signer || digestOf(domain, type, message) !== digest
    })
    .map(({ type, domain }) => `${type} on chain ${domain.chainId}`)
}

const conformanceVector = conformance()
const files: Record<string, unknown> = {
  'batch-settlement.json': conformanceVector,
  'openseed-types.json': typeSamples(conformanceVector.channelId),
  'signed-by-typescript.json': signedByTypescript(conformanceVector.channelId),
}

mkdirSync(vectorsDir, { recursive: true })
for (const [name, content] of Object.entries(files)) {
  const text = JSON.stringify(content, null, 2) + '\n'
  const file = new URL(name, vectorsDir)
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    process.stderr.write(`test/vectors/${name} is stale: run node scripts/make-vectors.ts\n`)
    process.exitCode = 1
  }
}

if (process.argv.includes('--check')) {
  for (const disagreement of disagreementsWithForge()) {
    process.stderr.write(`test/vectors/signed-by-forge.json: ethers disagrees about ${disagreement}\n`)
    process.exitCode = 1
  }
}
