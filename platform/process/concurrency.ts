/** Bounded concurrency. */

/**
 * Calls `work` for every item, at most `limit` at a time. After the first failure no further item is
 * started; those in progress finish.
 *
 * @throws the first failure
 */
export async function forEachConcurrently<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  let failed = false;
  const workOff = async (): Promise<void> => {
    for (const item of waiting) {
      if (failed) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: limit }, workOff));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
