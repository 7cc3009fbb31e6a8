/** NAT-PMP (RFC 6886): a router's ports for twelve bytes. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Endpoint } from './nat-type.ts'
import type { Router } from './port-mapping.ts'

const pmpPort = 5351
const firstWaitMs = 250
const tries = 4
const opExternalIp = 0
const opMapTcp = 2
const isAnswer = 128

/** The router at that address if it speaks NAT-PMP, else null. */
export async function findPmpRouter(ip: string, signal: AbortSignal, port = pmpPort): Promise<Router | null> {
  const address = { ip, port }
  const externalIp = async (given: AbortSignal) => {
    const answer = await ask(address, Buffer.from([0, opExternalIp]), 12, given)
    return [...answer.subarray(8, 12)].join('.')
  }
  const map = async (port: number, outside: number, lifetimeSec: number, given: AbortSignal) => {
    const question = Buffer.alloc(12)
    question.writeUInt8(opMapTcp, 1)
    question.writeUInt16BE(port, 4)
    question.writeUInt16BE(outside, 6)
    question.writeUInt32BE(lifetimeSec, 8)
    return (await ask(address, question, 16, given)).readUInt16BE(10)
  }
  try {
    await externalIp(signal)
  } catch {
    return null
  }
  return {
    map: async (port, lifetimeSec, given) => ({
      port: await map(port, port, lifetimeSec, given),
      ip: await externalIp(given),
    }),
    // A lifetime of nothing, and no port wished for.
    unmap: async (port, given) => void (await map(port, 0, 0, given)),
  }
}

/** Asks again and again, as the protocol wants it: one datagram may be lost. Throws when refused, or not answered. */
async function ask(at: Endpoint, question: Buffer, length: number, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket('udp4')
  const closing = new AbortController()
  const given = AbortSignal.any([signal, closing.signal])
  try {
    socket.connect(at.port, at.ip)
    await once(socket, 'connect', { signal })
    // Connected: only the router's own datagrams arrive.
    const answered = once(socket, 'message', { signal: given }) as Promise<[Buffer]>
    answered.catch(() => {})
    for (let attempt = 0; attempt < tries; attempt += 1) {
      socket.send(question)
      const waited = sleep(firstWaitMs * 2 ** attempt, null, { signal: given, ref: false }).catch(() => null)
      const first = await Promise.race([answered, waited])
      if (first === null) continue
      const [answer] = first
      if (answer.length < length || answer[0] !== 0 || answer[1] !== isAnswer + question[1]!)
        throw new Error('the router answered something else')
      const result = answer.readUInt16BE(2)
      if (result !== 0) throw new Error(`the router refused: result ${result}`)
      return answer
    }
    throw new Error('the router does not answer')
  } finally {
    closing.abort()
    socket.close()
  }
}
