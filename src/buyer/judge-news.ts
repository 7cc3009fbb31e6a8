/** What was heard of a seller -> a seller we know: where it leads is allowed, and its wallet vouches for it. */
import type { SellerNews } from '../net/seller-news.ts'
import type { BindingCheck } from './binding-check.ts'
import type { KnownSeller } from './announced.ts'
import { reachOf, type ReachRules } from './reach.ts'

/**
 * Null for what is not used: it leads where we do not go, is of another network, or its wallet did not sign for it.
 * `onValid` is called later when only the chain can tell, and says yes.
 */
export async function judgeNews(
  news: SellerNews,
  before: KnownSeller | undefined,
  parts: { rules: ReachRules; bindings: BindingCheck },
  onValid: () => void,
): Promise<KnownSeller | null> {
  const { record, binding, heartbeat } = news
  const metAt = placesOf(news, before)
  if (before?.record.text === record.text && metAt === before.metAt) return { ...before, heartbeat }
  const reach = reachOf(record, parts.rules, metAt)
  if (reach === null) return null
  const isKnown = before?.record.body.bindingHash === record.body.bindingHash
  const isVouchedFor = await parts.bindings.isValid(binding, record, { isKnown, onValid })
  return isVouchedFor ? { record, heartbeat, metAt, ...reach } : null
}

const nowhere: readonly string[] = []

// The same array for the same places, so that hearing of them again changes nothing.
function placesOf({ metAt }: SellerNews, before: KnownSeller | undefined): readonly string[] {
  const known = before?.metAt ?? nowhere
  return metAt === undefined || metAt.join() === known.join() ? known : metAt
}
