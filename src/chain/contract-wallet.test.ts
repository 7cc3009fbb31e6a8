import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Hex } from '../wire/hex.ts'
import { openWalletCheck } from './contract-wallet.ts'
import { openRpc } from './rpc.ts'

const wallet: Hex = `0x${'11'.repeat(20)}`
const digest: Hex = `0x${'22'.repeat(32)}`
const signature: Hex = `0x${'33'.repeat(70)}`
const magic = `0x1626ba7e${'0'.repeat(56)}`

interface Call {
  id: number
  method: string
  params: [{ to: string; data: string }, string]
}

/** What the check says on a chain where the wallet answers so. */
async function checkAgainst(answer: object): Promise<{ verdict: boolean; asked: Call[] }> {
  const asked: Call[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const parsed = JSON.parse(Buffer.concat(chunks).toString()) as Call | Call[]
      const replies = [parsed].flat().map((call) => {
        if (call.method === 'eth_call') asked.push(call)
        return { jsonrpc: '2.0', id: call.id, ...(call.method === 'eth_call' ? answer : { result: '0x1' }) }
      })
      response.end(JSON.stringify(Array.isArray(parsed) ? replies : replies[0]))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await using rpc = openRpc({ urls: [url], chainId: 1, timeoutMs: 2_000 })
  try {
    return { verdict: await openWalletCheck(rpc)(wallet, digest, signature), asked }
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

test('a wallet is asked as ERC-1271 has it, and believed when it answers with the magic value', async () => {
  const { verdict, asked } = await checkAgainst({ result: magic })
  expect(verdict).toBe(true)
  const [{ to, data }] = asked[0]!.params
  expect(to).toBe(wallet)
  // Selector, digest, offset and length of the signature, the signature filled up to whole words.
  expect(data).toBe(
    `0x1626ba7e${'22'.repeat(32)}${'40'.padStart(64, '0')}${'46'.padStart(64, '0')}${'33'.repeat(70)}${'00'.repeat(26)}`,
  )
})

test('an address without code, another answer and a revert are a no', async () => {
  expect((await checkAgainst({ result: '0x' })).verdict).toBe(false)
  expect((await checkAgainst({ result: `0x${'f'.repeat(64)}` })).verdict).toBe(false)
  expect((await checkAgainst({ result: '0x1626ba7e' })).verdict).toBe(false)
  const reverted = { error: { code: 3, message: 'execution reverted', data: '0x' } }
  expect((await checkAgainst(reverted)).verdict).toBe(false)
})
