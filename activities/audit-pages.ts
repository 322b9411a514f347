/**
 * What the two sides of the delivery audit share: pages, and the data that the workflow passes
 * between them.
 */

/** A page to read. */
export interface AuditPage<Position> {
  /** Only older items, in ms since the epoch. */
  readonly before: number;
  /** The cursor: only items behind it. */
  readonly after: Position;
  readonly limit: number;
}

/** The position of a published event in Kafka, from its outbox row. */
export interface Publication {
  readonly eventId: string;
  readonly topic: string;
  /** Null, like the offset, if unknown: then nothing proves that the event was sent. */
  readonly partition: number | null;
  readonly offset: number | null;
  /**
   * SHA-256 of the message's value, in base64: a dead letter is this event only with the same hash.
   */
  readonly valueHash: string;
}

/** The cursor of the next page; none after the last one. */
export function nextOf<Row, Position>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => Position,
): { readonly next?: Position } {
  return rows.length < limit ? {} : { next: positionOf(rows.at(-1)!) };
}
