/** How long the cache may hold a product's detail: who fills it and who waits to evict from it go by this. */

/** Time to live of a detail, in ms: bounds the staleness of changes that evict nothing. */
export const detailTimeToLiveMs = 300_000;

/** Time to live of a lease, in ms: longest time from a reader's miss to its fill. */
export const detailLeaseMs = 10_000;

/** After this time, in ms, no detail is left that was read before a change. */
export const staleAtMostMs = detailTimeToLiveMs + detailLeaseMs;
