/** What of the consumption an operator may hold: a partition, a topic, or everything. */

/** A partition, a topic (`partition` null), or everything (both null). */
export interface ConsumptionScope {
  readonly topic: string | null;
  readonly partition: number | null;
}

/** Whether any of the scopes covers a partition. */
export function isCovered(
  scopes: readonly ConsumptionScope[],
  place: { readonly topic: string; readonly partition: number },
): boolean {
  return scopes.some(
    ({ topic, partition }) =>
      (topic === null || topic === place.topic) &&
      (partition === null || partition === place.partition),
  );
}

/** A scope in words: `all of it`, `order-events` or `order-events/3`. */
export function describeScope({ topic, partition }: ConsumptionScope): string {
  if (topic === null) return 'all of it';
  return partition === null ? topic : `${topic}/${partition}`;
}
