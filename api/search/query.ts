/** What a text may be that somebody searches for. Pure. */
import { eventIdSchema } from '../../events/identifiers';
import type { Coordinates } from '../../events/received';

/** The readings of a text; those that it cannot be are undefined. */
export interface SearchQuery {
  /** The ID of anything. */
  readonly id: string | undefined;
  readonly deadLetterId: number | undefined;
  readonly place: Coordinates | undefined;
  /** Words of a product's name. */
  readonly words: string;
}

/**
 * Reads a text: `#13` and `13` are dead letters, `topic/partition@offset` is a message, also as this
 * project's texts have it (`topic/3 at 7`, `topic/3, offset 7`), and any text may be a name.
 */
export function readQuery(text: string): SearchQuery {
  const wanted = text.trim();
  return {
    id: eventIdSchema.safeParse(wanted).success ? wanted : undefined,
    deadLetterId: numberOf(/^#?([1-9]\d{0,14})$/.exec(wanted)?.[1]),
    place: readPlace(wanted),
    words: wanted,
  };
}

function readPlace(text: string): Coordinates | undefined {
  const [, topic, partition, offset] =
    /^([\w.-]{1,249})\/(\d{1,9})(?:@|:| at |, offset )(\d{1,15})$/.exec(text) ?? [];
  return topic === undefined
    ? undefined
    : { topic, partition: Number(partition), offset: Number(offset) };
}

function numberOf(digits: string | undefined): number | undefined {
  return digits === undefined ? undefined : Number(digits);
}
