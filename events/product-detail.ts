/** What a product's detail shows, as far as events can change it: from this follows when to evict it. */

/** Whether a product is sold out: the detail shows this, and not how many are left. */
export function isSoldOut(stock: number): boolean {
  return stock === 0;
}

/**
 * The displayed like count: exact below 1,000, rounded down to hundreds above, so that most likes of a
 * popular product leave its cached detail valid.
 */
export function shownLikeCount(likeCount: number): number {
  return likeCount < 1_000 ? likeCount : Math.floor(likeCount / 100) * 100;
}
