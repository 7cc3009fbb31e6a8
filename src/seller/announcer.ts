/** Keeps registries told: a record when something changed, a heartbeat every half minute, a word when leaving. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { withDeadline } from '../base/deadline.ts'
import { asOpenSeedError, hasCode, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { countersign, type SignedBinding } from '../wire/peer-binding.ts'
import { nextSeq, type HeartbeatRecord, type SellerRecord } from '../wire/record.ts'
import type { RecordModel } from '../wire/seller-record.ts'
import { clockSkewSec } from '../wire/validate-record.ts'
import { makeHeartbeat, makeRecord, type Beat, type SellerProfile } from './announcement.ts'
import type { Slots } from './slots.ts'

/** A registry, as the announcer needs it. Calls throw when it cannot be reached, and `record_refused` with the `reason` when it refuses. */
export interface AnnounceTarget {
  url: string
  register(record: SellerRecord, binding: SignedBinding): Promise<void>
  /** `superseded`: it has a newer record of this peer than the one the heartbeat is for. */
  heartbeat(beat: HeartbeatRecord): Promise<'ok' | 'need_record' | 'superseded'>
  /** What it has of this peer; null when it has nothing. */
  latest(peer: PeerId): Promise<{ seq: number; isLive: boolean } | null>
}

export interface AnnouncerParts {
  key: NodeKey
  profile: SellerProfile
  models: () => readonly RecordModel[]
  /** Multiaddrs where the seller is reached now, the best ones first. */
  addrs: () => readonly string[]
  slots: Pick<Slots, 'taken' | 'limit'>
  /** Tokens per second lately, and the ids of loaded models. */
  load: () => Pick<Beat, 'tps' | 'warm'>
  /** The wallet's word for `key`, and its digest. */
  binding: () => Promise<{ signed: SignedBinding; hash: SignedBinding['signature'] }>
  /** The sequence of the last record that was signed, kept over restarts. */
  loadSeq: () => Promise<number | null>
  /** Durable before the record is shown to anyone. */
  saveSeq: (seq: number) => Promise<unknown>
  /** Announce although another home is announcing with the same key. */
  takeOver: boolean
  /** Another home announces with this key; nothing more is announced from here. */
  onTakenOver: (error: OpenSeedError, atStart: boolean) => void
  now: Clock
  log: Log
  /** Milliseconds until the next heartbeat. */
  beatEveryMs?: () => number
}

/** What is announced now. */
export interface Announced {
  record: SellerRecord
  binding: SignedBinding
  heartbeat: HeartbeatRecord
}

export interface Announcer {
  /** Announces to one registry more. */
  add(target: AnnounceTarget): void
  /** The offers or the addresses changed: everyone is told now. */
  changed(): void
  /** Resolves at the next change, or when the signal aborts. */
  nextChange(signal: AbortSignal): Promise<void>
  /** Whether buyers could reach the seller by its record. */
  isReachable(): boolean
  /**
   * Judges the newest record of this key that somebody outside knows, null for none, beside the one that this run told
   * there last. Throws `identity_in_use`, and announces nothing more, when another home has announced there since.
   */
  checkNewest(where: string, seq: number | null, toldSeq: number | null): void
  /** What whoever asks this seller is told; null when another home announces with its key. */
  announced(): Promise<Announced | null>
  /** Stops within two seconds, and says goodbye unless told not to. */
  close(goodbye?: boolean): Promise<void>
}

const refreshMs = 5 * 60_000
// Whoever still announces has signed a record since.
const renewedMs = refreshMs * 1.4
const firstRetryMs = 1000
const longestRetryMs = 60_000
const leaveWithinMs = 2000
// Who asks often gets the same heartbeat again.
const beatKeptMs = 5000

export async function openAnnouncer(parts: AnnouncerParts): Promise<Announcer> {
  const { now, log } = parts
  const beatEveryMs = parts.beatEveryMs ?? (() => around(30_000, 5000))
  const stop = new AbortController()
  const loops = new Map<AnnounceTarget, Promise<void>>()
  let wake = new AbortController()
  let lastBeat: HeartbeatRecord | null = null
  const loadedSeq = sane(await parts.loadSeq(), now())
  let lastSeq = loadedSeq
  /** Of this run, and those of others that were taken over. */
  const ownSeqs = new Set<number>()
  let current: { record: SellerRecord; binding: SignedBinding; freshUntilMs: number } | null = null
  let making: Promise<SellerRecord> | null = null
  let hasAnnounced = false

  const isReachable = () => parts.profile.url !== null || parts.addrs().length > 0

  const isFresh = () => current !== null && now() < current.freshUntilMs

  const isOurs = (seq: number) => ownSeqs.has(seq) || seq <= (loadedSeq ?? 0)

  /** One record for all registries, renewed when it changed or has lived a third of its life. */
  async function record(): Promise<SellerRecord> {
    if (current !== null && isFresh()) return current.record
    making ??= make().finally(() => (making = null))
    return making
  }

  async function make(): Promise<SellerRecord> {
    const { signed, hash } = await parts.binding()
    const seq = nextSeq(lastSeq, now())
    await parts.saveSeq(seq)
    lastSeq = seq
    ownSeqs.add(seq)
    const made = makeRecord(parts.key, {
      profile: parts.profile,
      models: parts.models(),
      addrs: parts.addrs(),
      bindingHash: hash,
      seq,
    })
    // So that registries may pass it on in the DHT.
    const binding = countersign(parts.key, signed)
    current = { record: made, binding, freshUntilMs: now() + around(refreshMs, refreshMs / 5) }
    return made
  }

  function beat(leaving: boolean): HeartbeatRecord {
    const seq = nextSeq(lastBeat?.seq ?? null, now())
    const recordSeq = current?.record.seq ?? 0
    lastBeat = makeHeartbeat(parts.key, { slots: parts.slots, ...parts.load(), recordSeq, seq, leaving })
    return lastBeat
  }

  async function register(target: AnnounceTarget): Promise<number> {
    await checkAlone(target)
    const { seq } = await record()
    if (current === null) throw new Error('no record to register')
    await target.register(current.record, current.binding)
    hasAnnounced = true
    return seq
  }

  /** Two homes with one key would take turns in being the newest: the one that did not sign the newest stops. */
  async function checkAlone(target: AnnounceTarget): Promise<void> {
    const latest = await target.latest(parts.key.peerId)
    if (latest === null || !latest.isLive || isOurs(latest.seq)) return
    if (parts.takeOver && !hasAnnounced) {
      ownSeqs.add(latest.seq)
      lastSeq = Math.max(lastSeq ?? 0, latest.seq)
      return
    }
    giveWay(target.url)
  }

  function giveWay(where: string): never {
    const error = new OpenSeedError('identity_in_use', {
      message: `${where} hears from another seller with this node's key (${parts.key.peerId}).`,
      hint: 'Stop that one, or take over: openseed sell --take-over',
    })
    stop.abort(error)
    parts.onTakenOver(error, !hasAnnounced)
    throw error
  }

  async function announce(target: AnnounceTarget): Promise<void> {
    let registered: number | null = null
    let failures = 0
    while (!stop.signal.aborted) {
      try {
        // Also without any address yet: relays take only sellers that registries have heard of.
        const woken = wake.signal
        if (registered === null || registered !== (await record()).seq) registered = await register(target)
        if ((await target.heartbeat(beat(false))) !== 'ok') {
          // It lost the record, or another home has announced since: registering finds out which.
          registered = await register(target)
          await target.heartbeat(beat(false))
        }
        if (failures > 0) log.info({ registry: target.url }, 'announced again')
        failures = 0
        await pause(beatEveryMs(), AbortSignal.any([stop.signal, woken]))
      } catch (thrown) {
        if (stop.signal.aborted) return
        registered = null
        if (isRefusedAsFuture(thrown)) forgetFuture()
        failures += 1
        if (failures === 1) log.warn({ registry: target.url, err: thrown }, 'not announced; trying again')
        await pause(retryMs(failures), stop.signal)
      }
    }
  }

  // Signed while our clock was ahead: whatever follows in that order is refused until the hour has come.
  function forgetFuture(): void {
    if (lastSeq !== null && sane(lastSeq, now()) === null) {
      lastSeq = null
      current = null
    }
    if (lastBeat !== null && sane(lastBeat.seq, now()) === null) lastBeat = null
  }

  async function leave(target: AnnounceTarget): Promise<void> {
    const late = () => new OpenSeedError('registry_unreachable', { message: `${target.url} is slow.` })
    await withDeadline(target.heartbeat(beat(true)), leaveWithinMs, late).catch((thrown: unknown) => {
      log.debug({ registry: target.url, err: asOpenSeedError(thrown) }, 'left without a word')
    })
  }

  return {
    add(target) {
      if (!stop.signal.aborted) loops.set(target, announce(target))
    },
    isReachable,
    checkNewest(where, seq, toldSeq) {
      if (seq === null || isOurs(seq) || now() - seq > renewedMs || stop.signal.aborted) return
      // After our first record there, whoever sees ours stops.
      const isBehind = toldSeq === null ? parts.takeOver : seq < toldSeq
      if (!isBehind) giveWay(where)
      lastSeq = Math.max(lastSeq ?? 0, seq)
      if (current !== null && current.record.seq <= seq) current.freshUntilMs = 0
    },
    nextChange: (signal) => pause(refreshMs, AbortSignal.any([wake.signal, signal])),
    async announced() {
      if (stop.signal.aborted) return null
      await record()
      const isRecent = lastBeat !== null && now() - lastBeat.seq < beatKeptMs
      const isCurrent = isRecent && lastBeat?.body.recordSeq === current?.record.seq
      return current && { ...current, heartbeat: isCurrent && lastBeat ? lastBeat : beat(false) }
    },
    changed() {
      if (current !== null) current.freshUntilMs = 0
      wake.abort()
      wake = new AbortController()
    },
    async close(goodbye = true) {
      // Whoever was taken over has nobody to say goodbye for.
      const leaving = goodbye && !stop.signal.aborted && hasAnnounced ? [...loops.keys()] : []
      stop.abort()
      const late = () => new OpenSeedError('registry_unreachable', { message: 'A registry is slow.' })
      const ended = withDeadline(Promise.all(loops.values()), leaveWithinMs, late).catch(() => undefined)
      await Promise.all([ended, ...leaving.map(leave)])
    },
  }
}

// A sequence further ahead than clocks may differ was refused by everyone: the clock was wrong then.
function sane(seq: number | null, nowMs: number): number | null {
  return seq !== null && seq > nowMs + clockSkewSec * 1000 ? null : seq
}

function isRefusedAsFuture(thrown: unknown): boolean {
  const reason = hasCode(thrown, 'record_refused') ? thrown.details?.['reason'] : null
  return reason === 'future' || reason === 'binding_future'
}

const around = (ms: number, spreadMs: number) => ms + (Math.random() * 2 - 1) * spreadMs

function retryMs(failures: number): number {
  const fullMs = Math.min(firstRetryMs * 2 ** (failures - 1), longestRetryMs)
  return fullMs * (0.5 + Math.random() / 2)
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
}
