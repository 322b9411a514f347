/** What the two sides of the delivery audit have in common: pages, and what the workflow carries between them. */

/** Which page of something to look at. */
export interface AuditPage<Position> {
  /** Only what is older, in ms since the epoch. */
  readonly before: number;
  /** Only what comes behind it. */
  readonly after: Position;
  /** Most items of the page. */
  readonly limit: number;
}

/** Where an event of the outbox went, as its row says. */
export interface Publication {
  readonly eventId: string;
  readonly topic: string;
  /** Null, like the offset, if the row does not say: then nothing proves that the event was sent. */
  readonly partition: number | null;
  readonly offset: number | null;
  /** SHA-256 of the message's value, in base64: a dead letter is this event only if it has it, too. */
  readonly valueHash: string;
}

/** Where the page behind this one begins; nothing when this is the last one. */
export function nextOf<Row, Position>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => Position,
): { readonly next?: Position } {
  return rows.length < limit ? {} : { next: positionOf(rows.at(-1)!) };
}
