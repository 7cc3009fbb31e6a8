/** The one list of what can be filtered by, sorted by and shown. */
import { nearest } from '../base/nearest.ts'
import type { Row } from './listing.ts'
import { observed } from './observed.ts'
import type { Quantity, QuantityKind } from './units.ts'

export type FieldKind = QuantityKind | 'text' | 'list'
export type FieldValue = string | Quantity | readonly string[] | null

/**
 * How far a value can be believed. `term`: the seller is bound to it, by its signed offers or by its key.
 * `claim`: it only says so. `measured`: somebody else found it out.
 */
export type Standing = 'term' | 'claim' | 'measured'

export interface Fact {
  value: FieldValue
  standing: Standing
}

export interface Field {
  name: string
  title: string
  meaning: string
  kind: FieldKind
  aliases: readonly string[]
  /** The only words it can have, where these are few. */
  choices: readonly string[] | null
  read(row: Row): Fact
}

type Read = (row: Row) => Fact
type More = Partial<Pick<Field, 'title' | 'aliases' | 'choices'>>

const field = (name: string, kind: FieldKind, meaning: string, read: Read, more: More = {}): Field => ({
  name,
  kind,
  meaning,
  read,
  title: more.title ?? name.toUpperCase(),
  aliases: more.aliases ?? [],
  choices: more.choices ?? null,
})

const as =
  (standing: Standing) =>
  (read: (row: Row) => FieldValue | undefined): Read =>
  (row) => ({ value: read(row) ?? null, standing })
const term = as('term')
const claim = as('claim')
const measured = as('measured')

const body = ({ listing }: Row) => listing.record.body
const hardware = (row: Row) => body(row).hardware ?? {}
const beat = ({ listing }: Row) => listing.heartbeat?.body

export const fields: readonly Field[] = [
  field(
    'seller',
    'text',
    'the node id of the seller',
    term(({ listing }) => listing.record.peer),
  ),
  field(
    'model',
    'text',
    'the name of the model',
    term(({ model }) => model?.id),
  ),
  field(
    'quant',
    'text',
    'quantisation of the weights',
    claim(({ model }) => model?.quant),
    { aliases: ['quantization', 'quantisation'] },
  ),
  field(
    'ctx',
    'tokens',
    'context in tokens',
    term(({ model }) => model?.ctx),
    { aliases: ['context'] },
  ),
  field(
    'in',
    'money',
    'price of 1M prompt tokens',
    term(({ model }) => model?.in),
    { title: 'IN/1M' },
  ),
  field(
    'cached',
    'money',
    'price of 1M cached prompt tokens',
    term(({ model }) => model?.cached),
    { title: 'CACHED/1M' },
  ),
  field(
    'out',
    'money',
    'price of 1M generated tokens',
    term(({ model }) => model?.out),
    { title: 'OUT/1M' },
  ),
  field('price', 'money', 'price of 1M tokens, three of four of them prompt', term(mixedPrice), {
    title: 'MIXED/1M',
  }),
  field(
    'tps',
    'rate',
    'tokens per second',
    claim((row) => beat(row)?.tps),
    { title: 'TOK/S', aliases: ['tok/s', 'speed'] },
  ),
  field(
    'ttft',
    'duration',
    'time to the first token',
    measured(({ listing }) => listing.evidence.ttftMs),
  ),
  field(
    'success',
    'share',
    'share of the questions of registries that it answered; in show, of your own requests',
    measured(({ listing }) => ownSuccess(listing) ?? observed(listing, ({ success }) => success ?? null)),
    { title: 'OK' },
  ),
  field('load', 'share', 'share of its slots that are taken', claim(loadOf)),
  field('reach', 'text', 'how it is reached', readReach, { choices: ['direct', 'relay'] }),
  field(
    'region',
    'text',
    'where it is',
    claim((row) => body(row).region),
  ),
  field(
    'rtt',
    'duration',
    'round trip from here',
    measured(({ listing }) => listing.evidence.rttMs),
  ),
  field('hardware', 'text', 'what it runs on', claim(hardwareOf), { aliases: ['hw'] }),
  field('age', 'duration', 'since its last sign of life', ({ listing }) => ({
    value: listing.ageMs,
    standing: listing.lastSeenMs === null ? 'claim' : 'measured',
  })),
  field(
    'state',
    'text',
    'live, or stale when it was silent for 90 s',
    measured(({ listing }) => listing.state),
    { choices: ['live', 'stale'] },
  ),
  field(
    'uptime',
    'share',
    'share of the time a registry heard from it',
    measured(({ listing }) => observed(listing, ({ uptime }) => uptime)),
  ),
  field('warm', 'text', 'whether the model is loaded', claim(warmth), { choices: ['yes', 'no'] }),
  field(
    'free',
    'count',
    'free slots',
    claim((row) => beat(row)?.free),
  ),
  field(
    'running',
    'count',
    'running requests',
    claim((row) => beat(row)?.running),
  ),
  field(
    'queued',
    'count',
    'waiting requests',
    claim((row) => beat(row)?.queued),
    { aliases: ['queue'] },
  ),
  field(
    'slots',
    'count',
    'requests served at the same time',
    claim((row) => body(row).limits.concurrency),
  ),
  field(
    'gpu',
    'text',
    'name of its GPUs',
    claim((row) => hardware(row).gpu),
  ),
  field(
    'gpus',
    'count',
    'number of GPUs',
    claim((row) => hardware(row).gpus),
  ),
  field(
    'vram',
    'size',
    'memory of its GPUs',
    claim((row) => hardware(row).vramGiB),
  ),
  field(
    'cpu',
    'text',
    'name of its processor',
    claim((row) => hardware(row).cpu),
  ),
  field(
    'ram',
    'size',
    'memory of the machine',
    claim((row) => hardware(row).ramGiB),
  ),
  field(
    'maxout',
    'tokens',
    'the most output tokens of one request',
    term(({ model }) => model?.maxOut),
  ),
  field(
    'caps',
    'list',
    'capabilities: tools, vision, json',
    claim(({ model }) => model?.caps),
    { aliases: ['capabilities'] },
  ),
  field(
    'dialects',
    'list',
    'API dialects',
    claim((row) => body(row).dialects),
  ),
  field(
    'networks',
    'list',
    'chains it is paid on',
    term((row) => body(row).networks),
  ),
  field(
    'url',
    'text',
    'its public URL',
    claim((row) => body(row).url),
  ),
  field(
    'payto',
    'text',
    'the wallet that is paid',
    term((row) => body(row).payTo),
  ),
]

const ofModel = ['model', 'quant', 'ctx', 'maxout', 'in', 'cached', 'out', 'price', 'warm', 'caps']

/** True for what differs between the models of one seller. */
export function isOfModel({ name }: Pick<Field, 'name'>): boolean {
  return ofModel.includes(name)
}

/** By name or alias, in any case; undefined when there is none. */
export function fieldNamed(name: string): Field | undefined {
  const wanted = name.toLowerCase()
  return fields.find((field) => field.name === wanted || field.aliases.includes(wanted))
}

/** The name that was probably meant. */
export function nearestField(name: string): string | null {
  return nearest(
    name,
    fields.flatMap((field) => [field.name, ...field.aliases]),
  )
}

// Rounded up, so that a price at most as high as some amount is so exactly.
function mixedPrice({ model }: Row): bigint | null {
  return model === null ? null : (3n * model.in + model.out + 3n) / 4n
}

function ownSuccess({ evidence: { own } }: Row['listing']): number | null {
  return own === null ? null : own.answered / own.asked
}

function loadOf(row: Row): number | null {
  const now = beat(row)
  if (!now) return null
  const slots = now.running + now.free
  return slots === 0 ? 1 : now.running / slots
}

function readReach({ listing: { reach, evidence } }: Row): Fact {
  // A round trip was made, so it is no claim any more; and the way it took is the way there is.
  if (evidence.path === null) return { value: reach, standing: 'claim' }
  return { value: evidence.path === 'relayed' ? 'relay' : 'direct', standing: 'measured' }
}

function warmth(row: Row): string | null {
  const now = beat(row)
  if (!now || row.model === null) return null
  return now.warm.includes(row.model.id) ? 'yes' : 'no'
}

function hardwareOf(row: Row): string | null {
  const { gpu, gpus, vramGiB, cpu, ramGiB } = hardware(row)
  const size = (gib: number | undefined) => (gib === undefined ? '' : ` ${Math.round(gib)}GiB`)
  if (gpu !== undefined) return `${gpus !== undefined && gpus > 1 ? `${gpus}x ` : ''}${gpu}${size(vramGiB)}`
  return cpu === undefined ? null : `${cpu}${size(ramGiB)}`
}

/** True for what only a probe can tell. */
export function isProbed({ name }: Field): boolean {
  return name === 'rtt' || name === 'ttft'
}
