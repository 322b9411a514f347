/** Where an event has got to, and what to do about it: decided from what each store says of it. Pure. */
import type { DeadLetterStatus } from '../events/redrive';
import { placeOf, type Coordinates } from '../events/received';

/** How far an event has got. */
type JourneyState =
  /** In the outbox alone. */
  | 'unpublished'
  /** In Kafka, as far as anybody knows. */
  | 'published'
  /** Its workflow runs, and has not logged it. */
  | 'taken'
  /** Logged; the effects are not applied. */
  | 'logged'
  /** The effects are applied: the end. */
  | 'handled'
  /** A dead letter that waits for a decision. */
  | 'parked'
  /** Its dead letter was sent back to its topic, and it is not handled yet. */
  | 'redriven'
  /** Its dead letter was given up: it has no effects. */
  | 'discarded';

/** Where the consumer group is in the partition of a published event. */
export interface Consumption {
  /** The offset that is read next; null when the group has committed none. */
  readonly committed: number | null;
  /** Messages before the event that are not committed; 0 when it is read. */
  readonly ahead: number;
}

/** What the stores say of an event. */
export interface JourneyFacts {
  readonly committed: { readonly leftBehindAt: string | null } | null;
  readonly published: Coordinates | null;
  /** Null when Kafka cannot tell. */
  readonly consumption: Consumption | null;
  /** Whether the workflow that takes the event is known to be running. */
  readonly isRunning: boolean;
  readonly logged: Coordinates | null;
  readonly handled: object | null;
  /** Products whose eviction is not known to be over. */
  readonly evictionsWaiting: boolean;
  /** Dead letters that carry the event, the newest first. */
  readonly deadLetters: readonly LetterFacts[];
}

/** What decides in a dead letter. */
interface LetterFacts {
  readonly id: number;
  readonly status: DeadLetterStatus;
  readonly reason: string;
  readonly redrivingSince: string | null;
  readonly note: string | null;
}

/** The state of an event, in words. */
export interface JourneyVerdict {
  readonly state: JourneyState;
  readonly summary: string;
  /** What to do; null where nothing is to be done. */
  readonly remedy: string | null;
}

/** What the facts amount to; undefined when no store knows the event. */
export function judge(facts: JourneyFacts): JourneyVerdict | undefined {
  const { handled, logged, published, committed, isRunning } = facts;
  const [letter] = facts.deadLetters;
  if (handled !== null) return judgeHandled(facts);
  if (letter !== undefined) return judgeLetter(letter);
  if (logged !== null) return judgeLogged(facts);
  if (isRunning) {
    return {
      state: 'taken',
      summary: 'A workflow has taken the event and has not logged it yet.',
      remedy: `Open the workflow: ${whatWaits}`,
    };
  }
  if (published !== null) return judgePublished(published, facts);
  return committed === null ? undefined : judgeUnpublished(committed);
}

const whatWaits = 'an activity that is retried names the server that it waits for.';

function judgeHandled({ evictionsWaiting, deadLetters }: JourneyFacts): JourneyVerdict {
  const state = 'handled';
  const parked = deadLetters.find(({ status }) => status === 'parked');
  if (parked !== undefined) {
    return {
      state,
      summary: `Its effects are applied. Dead letter ${parked.id} carries it, too: ${parked.reason}.`,
      remedy: 'Read the dead letter, then redrive or discard it: the event counts once either way.',
    };
  }
  return evictionsWaiting
    ? {
        state,
        summary: 'Its effects are applied; its eviction from the cache is still being made.',
        remedy: 'Check that Redis is available: the eviction waits for it.',
      }
    : { state, summary: 'Its effects are applied, once.', remedy: null };
}

function judgeLetter({ id, status, reason, redrivingSince, note }: LetterFacts): JourneyVerdict {
  if (status === 'discarded') {
    return {
      state: 'discarded',
      summary: `Dead letter ${id} was discarded (${note ?? 'no reason given'}): the event has no effects.`,
      remedy: 'To have it handled after all, redrive the dead letter again.',
    };
  }
  if (status === 'redriven' || redrivingSince !== null) {
    return {
      state: 'redriven',
      summary: `Dead letter ${id} was sent back to its topic; the event is not handled yet.`,
      remedy:
        'It is handled shortly, or parked as a new dead letter. If not, check the lag, the bridge and worker:collector.',
    };
  }
  return {
    state: 'parked',
    summary: `Parked as dead letter ${id}: ${reason}. It has no effects.`,
    remedy: `Read the reason in dead letter ${id}, mend the cause, then redrive it, or discard it.`,
  };
}

function judgeLogged({ isRunning }: JourneyFacts): JourneyVerdict {
  return {
    state: 'logged',
    summary: 'Logged; its effects are not applied yet.',
    remedy: isRunning
      ? `Open the workflow: ${whatWaits}`
      : 'Check that worker:collector is running. The delivery audit starts the workflow again after ten minutes.',
  };
}

function judgePublished(
  place: Coordinates,
  { consumption }: Pick<JourneyFacts, 'consumption'>,
): JourneyVerdict {
  const state = 'published';
  const where = `Published to ${placeOf(place)}`;
  if (consumption === null) {
    return {
      state,
      summary: `${where}; whether the collector has read it is unknown, since Kafka does not answer.`,
      remedy: 'Check that Kafka is available, then look again.',
    };
  }
  const { committed, ahead } = consumption;
  if (committed !== null && committed > place.offset) {
    return {
      state,
      summary: `${where} and read by the bridge; it is not logged yet.`,
      remedy:
        'Check that worker:collector is running. The delivery audit has it read again if its workflow is lost.',
    };
  }
  const before = ahead === 1 ? '1 message is' : `${ahead} messages are`;
  return {
    state,
    summary: `${where}; the collector has not read it: ${before} before it in its partition.`,
    remedy: 'Check the lag, and that the bridge and worker:collector are ready (/readyz).',
  };
}

function judgeUnpublished({ leftBehindAt }: { leftBehindAt: string | null }): JourneyVerdict {
  const found = leftBehindAt === null ? '' : ` The delivery audit found it so at ${leftBehindAt}.`;
  return {
    state: 'unpublished',
    summary: `Committed with its change, and not published: it waits in the outbox.${found}`,
    remedy:
      'It is published once Kafka takes it: check that Kafka is available and worker:commerce is running. After five minutes the delivery audit publishes it, too.',
  };
}
