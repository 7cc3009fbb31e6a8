/** UPnP (IGD 1 and 2): finds the router by multicast and asks it in SOAP. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { judgeIp } from '../../wire/address-policy.ts'
import { readBody } from '../read-body.ts'
import type { Endpoint } from './nat-type.ts'
import type { Router } from './port-mapping.ts'

const everyone: Endpoint = { ip: '239.255.255.250', port: 1900 }
const kinds = ['InternetGatewayDevice:1', 'InternetGatewayDevice:2']
const services = /^urn:schemas-upnp-org:service:WAN(?:IP|PPP)Connection:[12]$/
const searchMs = 2_000
const answerMs = 3_000
const mostBytes = 128 * 1024
const mostLocations = 4
const onlyPermanent = 725
const conflict = 718

interface Control {
  url: URL
  service: string
}

/** The first router that answers, or null. `at` is asked instead of everyone when it is given. */
export async function findUpnpRouter(signal: AbortSignal, at: Endpoint = everyone): Promise<Router | null> {
  for (const location of await search(at, signal)) {
    const control = await controlOf(location, signal).catch(() => null)
    if (control !== null) return routerAt(control)
  }
  return null
}

function routerAt(control: Control): Router {
  const add = async (port: number, outside: number, lifetimeSec: number, signal: AbortSignal) =>
    await call(control, signal, 'AddPortMapping', {
      NewRemoteHost: '',
      NewExternalPort: outside,
      NewProtocol: 'TCP',
      NewInternalPort: port,
      NewInternalClient: await ownAddressTowards(control.url),
      NewEnabled: 1,
      NewPortMappingDescription: 'openseed',
      NewLeaseDuration: lifetimeSec,
    })
  const held = new Map<number, number>()
  return {
    async map(port, lifetimeSec, signal) {
      let outside = held.get(port) ?? port
      let answer = await add(port, outside, lifetimeSec, signal)
      if (errorOf(answer) === conflict) {
        outside = 20_000 + ((port * 7_919) % 40_000)
        answer = await add(port, outside, lifetimeSec, signal)
      }
      // Older routers know no end of a mapping. It is taken back at the close, if there is one.
      if (errorOf(answer) === onlyPermanent) answer = await add(port, outside, 0, signal)
      if (!answer.ok)
        throw new Error(`the router refused: error ${errorOf(answer) ?? answer.text.slice(0, 80)}`)
      held.set(port, outside)
      const { text } = await call(control, signal, 'GetExternalIPAddress', {})
      return { ip: /<NewExternalIPAddress>([\d.]+)</.exec(text)?.[1] ?? '', port: outside }
    },
    async unmap(port, signal) {
      const outside = held.get(port)
      if (outside === undefined) return
      const fields = { NewRemoteHost: '', NewExternalPort: outside, NewProtocol: 'TCP' }
      await call(control, signal, 'DeletePortMapping', fields)
      held.delete(port)
    },
  }
}

/** Where routers that answered say they are described; only those that speak of themselves, and of this network. */
async function search(at: Endpoint, signal: AbortSignal): Promise<URL[]> {
  const found = new Map<string, URL>()
  const socket = createSocket('udp4')
  const over = AbortSignal.any([signal, AbortSignal.timeout(searchMs)])
  socket.on('error', () => {})
  const { promise: first, resolve } = Promise.withResolvers<void>()
  socket.on('message', (message, { address }) => {
    const location = /^location:\s*(\S+)\s*$/im.exec(message.toString('latin1'))?.[1] ?? ''
    if (!URL.canParse(location) || found.size >= mostLocations) return
    const url = new URL(location)
    if (url.protocol !== 'http:' || url.hostname !== address || judgeIp(address) !== 'private') return
    found.set(url.href, url)
    resolve()
  })
  try {
    for (const kind of kinds) {
      const lines = [
        'M-SEARCH * HTTP/1.1',
        `HOST: ${at.ip}:${at.port}`,
        'MAN: "ssdp:discover"',
        'MX: 1',
        `ST: urn:schemas-upnp-org:device:${kind}`,
      ]
      socket.send(`${lines.join('\r\n')}\r\n\r\n`, at.port, at.ip)
    }
    await Promise.race([first, once(over, 'abort')])
    return [...found.values()]
  } finally {
    socket.close()
  }
}

async function controlOf(location: URL, signal: AbortSignal): Promise<Control | null> {
  const { text } = await fetchText(location, { method: 'GET' }, signal)
  const base = /<URLBase>\s*([^<\s]+)\s*<\/URLBase>/i.exec(text)?.[1]
  for (const [, service = ''] of text.matchAll(/<service>([\s\S]*?)<\/service>/gi)) {
    const type = /<serviceType>\s*([^<\s]+)\s*</i.exec(service)?.[1] ?? ''
    const path = /<controlURL>\s*([^<\s]+)\s*</i.exec(service)?.[1]
    if (!services.test(type) || path === undefined) continue
    const url = new URL(path, base !== undefined && URL.canParse(base) ? base : location)
    // A description that sends us elsewhere is not followed.
    if (url.hostname === location.hostname && url.protocol === 'http:') return { url, service: type }
  }
  return null
}

interface Answer {
  ok: boolean
  text: string
}

async function call(
  { url, service }: Control,
  signal: AbortSignal,
  action: string,
  fields: Record<string, string | number>,
): Promise<Answer> {
  const inner = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`)
  const envelope = 'http://schemas.xmlsoap.org/soap/envelope/'
  const body =
    `<?xml version="1.0"?><s:Envelope xmlns:s="${envelope}" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">` +
    `<s:Body><u:${action} xmlns:u="${service}">${inner.join('')}</u:${action}></s:Body></s:Envelope>`
  const headers = { 'content-type': 'text/xml; charset="utf-8"', soapaction: `"${service}#${action}"` }
  return await fetchText(url, { method: 'POST', headers, body }, signal)
}

async function fetchText(
  url: URL,
  options: { method: 'GET' | 'POST'; headers?: Record<string, string>; body?: string },
  signal: AbortSignal,
): Promise<Answer> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(answerMs)])
  // Only who maps a port pays for loading it. By its default: a bundle gives a CommonJS package no other name here.
  const { default: undici } = await import('undici')
  const { statusCode, body } = await undici.request(url, { ...options, signal: within })
  return { ok: statusCode === 200, text: (await readBody(body, mostBytes)).toString() }
}

function errorOf({ text }: Answer): number | null {
  const code = /<errorCode>\s*(\d+)\s*</.exec(text)?.[1]
  return code === undefined ? null : Number(code)
}

/** The address of this machine that the router sees. */
async function ownAddressTowards({ hostname, port }: URL): Promise<string> {
  const socket = createSocket('udp4')
  try {
    socket.connect(Number(port || 80), hostname)
    await once(socket, 'connect')
    return socket.address().address
  } finally {
    socket.close()
  }
}
