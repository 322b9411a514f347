/**
 * The journey of an event: what the outbox, Kafka, Temporal, the audit log, the projections and the dead
 * letters say of it, in one answer. Shared by the HTTP routes and the command line.
 *
 * The shop's side and the collector's are read side by side, in one statement. Temporal and Kafka are asked
 * for what the tables do not have; where one is unavailable, the answer says that it is unknown.
 */
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowNotFoundError,
  type Client,
} from '@temporalio/client';
import { staleAtMostMs } from '../events/cached-details';
import type { Event } from '../events/envelope';
import { readEventTime } from '../events/event-time';
import type { Coordinates } from '../events/received';
import { isReservedEventId } from '../events/reserved-event-ids';
import { definitionOf, isEventType } from '../events/schemas';
import { workflowIds } from '../events/workflow-ids';
import type { PartitionLag } from '../platform/kafka/consumer-lag';
import type { Queryable } from '../platform/postgres/pool';
import {
  readEffects,
  readLetters,
  readStored,
  type Effect,
  type JourneyLetter,
  type Repeats,
  type Stored,
} from './event-journey-reads';
import { judge, type Consumption, type JourneyVerdict } from './journey-state';

/** A stage of the journey. Times are RFC 3339. */
interface Stage {
  /** Null when it is unknown. */
  readonly at: string | null;
  /**
   * Since the stage before it that has a time, in ms; null for the first. Negative where the clocks of two
   * servers differ by more.
   */
  readonly afterMs: number | null;
}

/** The change was committed with its event. */
interface CommittedStage extends Stage {
  /** Within an aggregate, the order of the commits. */
  readonly sequence: number;
  /** When the delivery audit first found the event unpublished; null when it never did. */
  readonly leftBehindAt: string | null;
}

/** The brokers have the event. No time is known where it did not come from the outbox. */
interface PublishedStage extends Stage, Coordinates {
  /** Where the collector is, while it has not logged the event; null when it has, or when it is unknown. */
  readonly consumption: Consumption | null;
}

/** A workflow has the event. */
interface TakenStage extends Stage {
  readonly workflowId: string;
  /** Null, as the status, when Temporal no longer has the workflow or is unavailable. */
  readonly workflowType: string | null;
  /** As Temporal names it: `RUNNING`, `COMPLETED`, `FAILED` and others. */
  readonly status: string | null;
}

/** The event is in the audit log. */
interface LoggedStage extends Stage, Coordinates {}

/** The effects of the event are applied. */
interface HandledStage extends Stage {
  readonly workflowId: string;
}

/** Cached details that the event makes stale. */
interface Evictions {
  readonly productIds: readonly string[];
  /** `waiting` until the event is logged and its workflow has ended; `unknown` where Temporal cannot tell. */
  readonly state: 'none' | 'waiting' | 'done' | 'unknown';
}

/** What is known of an event. */
export interface EventJourney extends JourneyVerdict {
  readonly eventId: string;
  /** Null, as the next two, where only a dead letter or a workflow knows the event. */
  readonly type: string | null;
  readonly aggregateId: string | null;
  /** When it happened, as the event says. */
  readonly occurredAt: string | null;
  /** Null for what is not in the shop's outbox: views, and events of other producers. */
  readonly committed: CommittedStage | null;
  readonly published: PublishedStage | null;
  readonly taken: TakenStage | null;
  readonly logged: LoggedStage | null;
  readonly handled: HandledStage | null;
  /** What it adds up to, once it is handled; null when PostgreSQL rejects its values. */
  readonly effects: readonly Effect[] | null;
  readonly evictions: Evictions;
  /** Null for an event that came once. */
  readonly repeats: Repeats | null;
  /** The newest first, and at most twenty. */
  readonly deadLetters: readonly JourneyLetter[];
  /** The whole event, envelope included. */
  readonly event: Event | null;
}

export interface JourneyDependencies {
  readonly database: Queryable;
  readonly temporal: Client;
  /** The collector's position in each partition. @throws when Kafka is unavailable */
  readonly readProgress: () => Promise<readonly PartitionLag[]>;
}

export interface EventJourneys {
  /** Undefined when neither a table nor a running workflow has the event. */
  find(eventId: string): Promise<EventJourney | undefined>;
}

/** Journeys from the stores. */
export function createEventJourneys(dependencies: JourneyDependencies): EventJourneys {
  const { database, temporal, readProgress } = dependencies;
  return {
    async find(eventId) {
      const [found, deadLetters] = await Promise.all([
        readStored(database, eventId),
        readLetters(database, eventId),
      ]);
      const carrying = deadLetters.filter(({ carriesEvent }) => carriesEvent);
      const stored = { ...found, published: found.published ?? placeOfFirst(carrying) };
      const workflowId = workflowIdOf(eventId, stored, carrying);
      const [workflow, consumption, effects] = await Promise.all([
        readWorkflow(temporal, workflowId),
        readConsumption(readProgress, stored),
        readEffects(database, stored),
      ]);
      const evictions = evictionsOf(stored, workflow);
      const verdict = judge({
        ...stored,
        consumption,
        isRunning: workflow?.status === 'RUNNING',
        evictionsWaiting: evictions.state === 'waiting',
        deadLetters: carrying,
      });
      if (verdict === undefined) return undefined;
      const { event, repeats } = stored;
      return {
        eventId,
        type: event?.type ?? null,
        aggregateId: event?.subject ?? null,
        occurredAt: toText(event === null ? undefined : readEventTime(event.time)),
        ...verdict,
        ...stagesOf(stored, consumption, takenBy(workflow, workflowId, stored, carrying)),
        effects,
        evictions,
        repeats,
        deadLetters,
        event,
      };
    },
  };
}

/** Where a message was that no other table has; its first dead letter is the oldest. */
function placeOfFirst(letters: readonly JourneyLetter[]): Stored['published'] {
  const first = letters.at(-1);
  if (first === undefined) return null;
  const { topic, partition, offset } = first;
  return { at: null, topic, partition, offset };
}

/** A workflow as Temporal has it. */
interface WorkflowReading {
  readonly type: string;
  readonly status: string;
  readonly startedAt: Date;
}

const temporalTimeoutMs = 1_500;

// What has handled or parked the event; before that, what takes it: a batch cannot be found by its events.
function workflowIdOf(
  eventId: string,
  { handled }: Stored,
  [letter]: readonly JourneyLetter[],
): string | undefined {
  if (handled !== null) return handled.workflowId;
  if (letter !== undefined && letter.status !== 'redriven') return letter.workflowId;
  return isReservedEventId(eventId) ? undefined : workflowIds.handleEvent(eventId);
}

async function readWorkflow(
  temporal: Client,
  workflowId: string | undefined,
): Promise<WorkflowReading | undefined> {
  if (workflowId === undefined) return undefined;
  try {
    const handle = temporal.workflow.getHandle(workflowId);
    const { type, status, startTime } = await temporal.withDeadline(
      Date.now() + temporalTimeoutMs,
      () => handle.describe(),
    );
    return { type, status: status.name, startedAt: startTime };
  } catch (error) {
    // Forgotten or unavailable: what it would tell is unknown either way.
    if (error instanceof WorkflowNotFoundError || isUnavailable(error)) return undefined;
    throw error;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ServiceError || isGrpcServiceError(error);
}

async function readConsumption(
  readProgress: JourneyDependencies['readProgress'],
  { published, logged }: Stored,
): Promise<Consumption | null> {
  if (published === null || logged !== null) return null;
  const { topic, partition, offset } = published;
  const partitions = await readProgress().catch(() => []);
  const progress = partitions.find((each) => each.topic === topic && each.partition === partition);
  if (progress === undefined) return null;
  const { committed, start } = progress;
  return { committed, ahead: Math.max(offset - Math.max(committed ?? start, start), 0) };
}

function evictionsOf({ event, logged }: Stored, workflow: WorkflowReading | undefined): Evictions {
  const productIds =
    event !== null && isEventType(event.type)
      ? definitionOf(event.type).staleDetails(event.data)
      : [];
  if (productIds.length === 0) return { productIds, state: 'none' };
  if (logged === null) return { productIds, state: 'waiting' };
  if (workflow === undefined) {
    // By then nothing stale is left in the cache.
    const isOver = Date.now() - logged.at.getTime() > staleAtMostMs;
    return { productIds, state: isOver ? 'done' : 'unknown' };
  }
  return { productIds, state: workflow.status === 'RUNNING' ? 'waiting' : 'done' };
}

/** The workflow that took the event: as Temporal tells of it, or as a table names it. */
function takenBy(
  workflow: WorkflowReading | undefined,
  workflowId: string | undefined,
  { handled }: Stored,
  carrying: readonly JourneyLetter[],
) {
  if (workflowId === undefined) return null;
  if (workflow !== undefined) {
    const { type: workflowType, status, startedAt: at } = workflow;
    return { at, workflowId, workflowType, status };
  }
  const isNamed = handled !== null || carrying.length > 0;
  return isNamed ? { at: null, workflowId, workflowType: null, status: null } : null;
}

function stagesOf(
  { committed, published, logged, handled }: Stored,
  consumption: Consumption | null,
  taken: ReturnType<typeof takenBy>,
): Pick<EventJourney, 'committed' | 'published' | 'taken' | 'logged' | 'handled'> {
  const timed = intervals([committed, published, taken, logged, handled]);
  return {
    committed: committed && { ...committed, ...timed[0]! },
    published: published && { ...published, consumption, ...timed[1]! },
    taken: taken && { ...taken, ...timed[2]! },
    logged: logged && { ...logged, ...timed[3]! },
    handled: handled && { ...handled, ...timed[4]! },
  };
}

/** The time of each stage, and since the last one before it that has one. */
function intervals(stages: readonly ({ readonly at: Date | null } | null)[]): Stage[] {
  let before: number | undefined;
  return stages.map((stage) => {
    const at = stage?.at?.getTime();
    const afterMs = at === undefined || before === undefined ? null : at - before;
    before = at ?? before;
    return { at: toText(stage?.at), afterMs };
  });
}

function toText(time: Date | null | undefined): string | null {
  return time?.toISOString() ?? null;
}
