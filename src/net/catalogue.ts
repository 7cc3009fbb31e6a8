/** A seller's catalogue, too large for its record: fetched where the record says, believed for its hash alone. */
import type { Duplex } from 'node:stream'
import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import { mostCatalogBytes, parseCatalog, type RecordModel } from '../wire/seller-record.ts'
import { guardedLookup, isPublicUrl } from './guarded-lookup.ts'
import { openHttpPool } from './http-pool.ts'
import { readBody } from './read-body.ts'

export interface CatalogueRules {
  allowPrivate: boolean
  /** For all of it, to the last byte. */
  signal: AbortSignal
  /** Gives a connection to the seller itself, in place of dialling the URL's host. */
  connect?: (signal: AbortSignal) => Promise<Duplex>
}

const maxHeaderBytes = 16 * 1024

/** Throws `seller_unreachable`, `seller_failed`, or `invalid_message` for what does not have this hash. */
export async function fetchCatalogue(
  { url, hash }: { url: string; hash: Hex },
  { allowPrivate, signal, connect }: CatalogueRules,
): Promise<RecordModel[]> {
  if (!connect && !allowPrivate && !isPublicUrl(url)) throw unreachable(`${url} leads into a private network`)
  const { origin, pathname, search } = new URL(url)
  await using pool = openHttpPool(connect ? 'http://peer.openseed' : origin, {
    connections: 1,
    maxHeaderBytes,
    ...(!allowPrivate && { lookup: guardedLookup() }),
    ...(connect && { connect: () => connect(signal) }),
  })
  try {
    const reply = await pool.ask({ method: 'GET', path: pathname + search, signal })
    if (reply.statusCode !== 200) throw failed(`${url} answered ${reply.statusCode ?? 'nothing'}`)
    return parseCatalog(await readBody(reply, mostCatalogBytes), hash)
  } catch (cause) {
    if (cause instanceof OpenSeedError) throw cause
    throw unreachable(`${url} does not answer`, cause)
  }
}

function unreachable(what: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('seller_unreachable', { message: `The catalogue at ${what}.`, cause })
}

function failed(what: string): OpenSeedError {
  return new OpenSeedError('seller_failed', { message: `The catalogue at ${what}.` })
}
