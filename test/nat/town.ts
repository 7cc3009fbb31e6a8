/** A market in a lab: a chain and two registries in the middle, sellers and buyers where a test wants them. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import type { Funding } from '../../src/chain/local.ts'
import { callControl } from '../../src/node/control.ts'
import { openKeystore } from '../../src/node/keystore.ts'
import type { NetReport } from '../../src/node/net-report.ts'
import type { Address } from '../../src/wire/hex.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import type { Running } from '../fixtures/command.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openChat, type Chat } from './chat.ts'
import { openDoor } from './door.ts'
import { openLab, type Lab, type Side, type SideKind } from './lab.ts'
import { password, startOpenseed, type Place } from './program.ts'

/** A role of the program that can be ended and started again on what it has written. */
export interface Role extends Place {
  start(): Promise<void>
  /** As a power cut ends it. */
  kill(): Promise<void>
  /** As Ctrl-C ends it. */
  stop(): Promise<void>
}

export interface TownSeller extends Role {
  side: Side
  /** Of its wallet, where its earnings go. */
  payTo: Address
  /** The one it sells, and nobody else does. */
  model: string
  engine: ScriptedEngine
  /** Address among the peers. */
  address(): string
  net(): Promise<NetReport>
}

export interface TownBuyer extends Role {
  side: Side
  /** Throws what the client is told when the answer does not begin. */
  chat(model: string, directive: string): Promise<Chat>
}

export interface Town extends AsyncDisposable {
  lab: Lab
  chain: TestChain
  registries: readonly (Role & { url: string })[]
  /** Ready when it knows how it is reached, and buyers are told. */
  addSeller(kind: SideKind, options?: { prepare?: (side: Side) => Promise<void> }): Promise<TownSeller>
  /** Not started yet. */
  addBuyer(kind: SideKind): Promise<TownBuyer>
}

const ports = {
  chain: 8_545,
  registry: 8_404,
  registryPeers: 8_406,
  sellerPeers: 8_405,
  engine: 11_434,
  gateway: 8_402,
}
const oneEther = 10n ** 18n
const buyerUsdc = 50_000_000n
const settleMs = 60_000

/** Everything in the middle is of one family of addresses, so that nobody gets there by another. */
export async function openTown(family: 4 | 6 = 4): Promise<Town> {
  const stack = new AsyncDisposableStack()
  try {
    return await build(stack, family)
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

async function build(stack: AsyncDisposableStack, family: 4 | 6): Promise<Town> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-town-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const lab = stack.use(await openLab())
  const chain = stack.use(await openTestChain())
  const { namespace: middle } = lab.middle
  const ips = family === 6 ? lab.middle.ips6 : lab.middle.ips
  const hostOf = (ip: string) => (family === 6 ? `[${ip}]` : ip)
  const peersAt = (ip: string, port: number) => `/ip${family}/${ip}/tcp/${port}`
  const [chainIp = ''] = ips
  const chainDoor = stack.use(await openDoor(middle))
  await chainDoor.lead(chainIp, ports.chain, Number(new URL(chain.url).port))
  const rpc = ['--rpc-url', `http://${hostOf(chainIp)}:${ports.chain}`]

  async function openRole(name: string, namespace: string, args: readonly string[]) {
    const home = join(folder, name)
    await mkdir(home, { recursive: true })
    let running: Running | null = null
    const end = async (signal: 'SIGKILL' | 'SIGINT') => {
      running?.child.kill(signal)
      await running?.ended
      running = null
    }
    stack.defer(() => end('SIGKILL'))
    const role = {
      namespace,
      home,
      async start() {
        running = startOpenseed(role, args)
        await running.ready
      },
      kill: () => end('SIGKILL'),
      stop: () => end('SIGINT'),
    }
    return role
  }

  const urlOf = (ip: string) => `http://${hostOf(ip)}:${ports.registry}`
  const registries = await Promise.all(
    ips.map(async (ip, at) => {
      const places = [
        '--listen',
        `${hostOf(ip)}:${ports.registry}`,
        '--p2p-listen',
        peersAt(ip, ports.registryPeers),
      ]
      const peers = ips.filter((other) => other !== ip).flatMap((other) => ['--peer', urlOf(other)])
      const args = ['registry', ...places, ...peers, ...rpc]
      return { ...(await openRole(`registry-${at}`, middle, args)), url: urlOf(ip) }
    }),
  )
  await Promise.all(registries.map((registry) => registry.start()))
  const everywhere = [...registries.flatMap(({ url }) => ['--registry', url]), ...rpc]

  // One after the other: they all are paid from one account.
  let funding: Promise<void> = Promise.resolve()
  const fund = (funded: Funding) => (funding = funding.then(() => chain.fund([funded])))

  let parties = 0
  const openHome = async (kind: SideKind) => {
    parties += 1
    const name = `${parties}-${kind}`
    // Cheap to open: each start of a party does.
    const keystore = openKeystore(join(folder, name, 'keystore'), { scryptN: 1_024 })
    return { name, wallet: await keystore.create(password) }
  }

  return {
    lab,
    chain,
    registries,
    async addSeller(kind, { prepare } = {}) {
      const side = await lab.addSide(kind)
      await prepare?.(side)
      const { name, wallet } = await openHome(kind)
      const model = `model-${name}`
      const engine = stack.use(await startScriptedEngine({ model }))
      const door = stack.use(await openDoor(side.namespace))
      await door.lead('127.0.0.1', ports.engine, Number(new URL(engine.url).port))
      const payTo = wallet['seller-authorizer']
      await fund({ address: payTo, eth: oneEther })
      const engineUrl = `http://127.0.0.1:${ports.engine}`
      const role = await openRole(name, side.namespace, [
        'sell',
        '--engine',
        engineUrl,
        ...(family === 6 ? ['--p2p-listen', peersAt('::', ports.sellerPeers)] : []),
        ...everywhere,
      ])
      const net = async () => {
        const signal = AbortSignal.timeout(5_000)
        const answer = await callControl(join(role.home, 'seller', 'local'), 'net', {}, signal)
        if (answer === null) throw new Error('no seller runs there')
        return answer.value as NetReport
      }
      let peer = ''
      const seller: TownSeller = {
        ...role,
        side,
        payTo,
        model,
        engine,
        address: () => `openseed://${peer}`,
        net,
        async start() {
          await role.start()
          await vi.waitUntil(async () => isSettled(await net()), { timeout: settleMs, interval: 50 })
          peer = (await net()).peer!
        },
      }
      await seller.start()
      return seller
    },
    async addBuyer(kind) {
      const side = await lab.addSide(kind)
      const { name, wallet } = await openHome(kind)
      await fund({ address: wallet.payer, usdc: buyerUsdc })
      const door = stack.use(await openDoor(side.namespace))
      const port = ['--port', String(ports.gateway)]
      const role = await openRole(name, side.namespace, ['buy', ...port, ...everywhere])
      const chat = async (model: string, directive: string) =>
        openChat(await door.connect('127.0.0.1', ports.gateway), model, directive)
      return { ...role, side, chat }
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Others get in, or two relays keep a place for it. */
function isSettled({ state, relays, addrs }: NetReport): boolean {
  const circuits = addrs.filter((addr) => addr.includes('/p2p-circuit/'))
  return state === 'public' ? addrs.length > 0 : relays.length === 2 && circuits.length === 2
}
