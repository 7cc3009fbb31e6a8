/** Why a model cannot be had, and what to do about it. */
import { OpenSeedError } from '../base/errors.ts'
import { nearNames } from './near-names.ts'
import type { SellerEntry } from './seller-entry.ts'

/** Where sellers are looked for, as far as the market has to know. */
export interface Discovery {
  /** The model was asked for. Resolves when everybody who could name a seller of it had a chance to; never rejects. */
  look: (model: string) => Promise<void>
  failures: () => readonly OpenSeedError[]
}

export function explainNone(
  model: string,
  sellers: readonly SellerEntry[],
  discovery?: Discovery,
): OpenSeedError {
  if (sellers.length === 0) return knowsNobody(discovery)
  const reasons = sellers.flatMap(({ url, refused, failure }) => {
    if (refused !== null) return [`${url} is refused: ${refused}.`]
    if (failure === null) return []
    return [failure.message.includes(url) ? failure.message : `${url}: ${failure.message}`]
  })
  const details = { param: 'model', model }
  const known = sellers.flatMap(({ terms }) => terms?.offers.map((signed) => signed.details.model) ?? [])
  if (known.includes(model)) {
    return new OpenSeedError('no_seller', {
      message: [`The offers for the model "${model}" have expired and were not renewed.`, ...reasons].join(
        ' ',
      ),
      hint: 'Check that the seller runs and that both clocks are right.',
      details,
    })
  }
  if (sellers.some((seller) => seller.failure === null && seller.terms !== null)) {
    const near = nearNames(model, [...new Set(known)])
    return new OpenSeedError('model_not_found', {
      message: [`No seller in reach offers the model "${model}".`, ...reasons].join(' '),
      hint:
        near.length > 0
          ? `Did you mean ${near.map((name) => `"${name}"`).join(', ')}?`
          : 'GET /v1/models lists what can be bought.',
      details: { ...details, near },
    })
  }
  const isUnreachable = sellers.every(({ failure }) => failure !== null)
  return new OpenSeedError(isUnreachable ? 'seller_unreachable' : 'no_seller', {
    message: reasons.join(' '),
    hint: isUnreachable
      ? 'Check the address, and that `openseed sell` runs there.'
      : 'Tell the node another seller with --seller.',
    details,
  })
}

function knowsNobody(discovery: Discovery | undefined): OpenSeedError {
  if (discovery === undefined) {
    return new OpenSeedError('no_seller', {
      message: 'This node knows no seller.',
      hint: 'Start it with a registry (openseed buy --registry https://host) or a seller (--seller http://host:8403).',
    })
  }
  const failures = discovery.failures().map(({ message }) => message)
  const said = ['This node knows no seller: nobody it asked has named one that it can use.', ...failures]
  const next = failures.length > 0 ? 'Check the addresses' : 'Try again later'
  return new OpenSeedError('no_seller', {
    message: said.join(' '),
    hint: `${next}, or name another registry (--registry), a DHT server (--bootstrap) or a seller (--seller http://host:8403).`,
  })
}
