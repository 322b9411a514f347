/**
 * What is to be done with a message: the workflow that handles its event or, where it is none, the
 * one that parks it. Pure: decided from the message alone, and for every message, whatever it is.
 */
import type { Event } from '../events/envelope';
import { InvalidEventError } from '../events/errors';
import { deriveBatchUuid } from '../events/identifiers';
import { parseMessage } from '../events/parse';
import {
  encodeHeader,
  producedAt,
  refusedMessage,
  type BatchOffsets,
  type Coordinates,
  type ReceivedEvent,
  type RefusedMessage,
  type RefusedOffsets,
  type Refusal,
  type VanishedOffsets,
} from '../events/received';
import { redrivenFromHeader } from '../events/redrive';
import type { LogRecord, UnreadableOffsets } from '../platform/kafka/record-batch';
import { traceparentHeader } from '../platform/observability/tracing';
import { workflowIds } from '../events/workflow-ids';
import { workflowTypes } from '../events/workflow-names';

/** A workflow to be started. */
export type WorkflowPlan = HandlingPlan | BatchPlan | ParkingPlan | VanishedPlan;

/** The workflow that handles one event. */
export interface HandlingPlan extends Plan {
  readonly type: typeof workflowTypes.handleEvent;
  /** What the input weighs, before JSON escapes any of it. */
  readonly bytes: number;
  readonly event: Event;
  readonly input: [event: ReceivedEvent];
}

/** The workflow that handles many events, or one that may be a repeat. */
export interface BatchPlan extends Plan {
  /** The first and the last offset of each partition that it has events of, by `topic/partition`. */
  readonly offsets: BatchOffsets;
  readonly type: typeof workflowTypes.handleEventBatch;
  readonly input: [events: readonly ReceivedEvent[]];
}

/** The workflow that parks a message. */
export interface ParkingPlan extends Plan {
  readonly type: typeof workflowTypes.parkDeadLetter;
  readonly input: [message: RefusedMessage, value: Uint8Array | null] | [offsets: RefusedOffsets];
}

/** The workflow that puts on record which offsets vanished unread. */
export interface VanishedPlan extends Plan {
  readonly type: typeof workflowTypes.recordVanishedOffsets;
  readonly input: [offsets: VanishedOffsets];
}

interface Plan {
  readonly workflowId: string;
  /**
   * The ID by which the database tells that the work is done: that of an event to be handled, or of
   * the workflow that parks a message.
   */
  readonly doneBy: string;
}

/** A message of a partition, or a stretch of it that cannot be read as messages. */
export interface PartitionMessage {
  readonly topic: string;
  readonly partition: number;
  readonly entry: LogRecord | UnreadableOffsets;
}

/** The workflow for a message. Every message has one: what is no event is parked, never dropped. */
export function planWorkflow(received: PartitionMessage): HandlingPlan | ParkingPlan {
  const { entry } = received;
  if (entry.kind === 'unreadable') return planParking(received, entry);
  try {
    return planHandling(received, entry);
  } catch (error) {
    return planParkingAnyway(received, whyRefused(error));
  }
}

// What made handling throw may make taking the message apart throw again: then its place travels.
function planParkingAnyway(received: PartitionMessage, refusal: Refusal): ParkingPlan {
  try {
    return planParking(received, refusal);
  } catch {
    const { topic, partition, entry } = received;
    const coordinates = { topic, partition, offset: entry.offset };
    return toParkingPlan(coordinates, [{ ...coordinates, lastOffset: entry.offset, ...refusal }]);
  }
}

// Whatever it is that throws: the same message would throw again, and hold its partition up for ever.
function whyRefused(error: unknown): Refusal {
  if (error instanceof InvalidEventError) return { reason: error.code, detail: error.message };
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { reason: 'PLANNING_FAILED', detail: detail.slice(0, maxDetailLength) };
}

/** Longest detail that travels: a stack is told whole, what it quotes of a message is not. */
const maxDetailLength = 8 * 1024;

/** The workflow that parks a message, for the reason given. */
export function planParking(
  { topic, partition, entry }: PartitionMessage,
  { reason, detail }: Pick<Refusal, 'reason' | 'detail'>,
): ParkingPlan {
  const coordinates = { topic, partition, offset: entry.offset };
  return toParkingPlan(coordinates, parkingInput(coordinates, entry, { reason, detail }));
}

/** The same for one that turned out too large to travel: it is read from Kafka where it is parked. */
export function planParkingByCoordinates({ input: [message] }: ParkingPlan): ParkingPlan {
  const { topic, partition, offset, reason, detail } = message;
  const lastOffset = 'lastOffset' in message ? message.lastOffset : offset;
  const coordinates = { topic, partition, offset };
  return toParkingPlan(coordinates, [{ ...coordinates, lastOffset, reason, detail }]);
}

/** The workflow that puts on record which offsets vanished unread. */
export function planVanished(offsets: VanishedOffsets): VanishedPlan {
  const workflowId = workflowIds.recordVanishedOffsets(offsets);
  return {
    type: workflowTypes.recordVanishedOffsets,
    workflowId,
    doneBy: workflowId,
    input: [offsets],
  };
}

function toParkingPlan(coordinates: Coordinates, input: ParkingPlan['input']): ParkingPlan {
  const workflowId = workflowIds.parkDeadLetter(coordinates);
  return { type: workflowTypes.parkDeadLetter, workflowId, doneBy: workflowId, input };
}

function parkingInput(
  coordinates: Coordinates,
  entry: LogRecord | UnreadableOffsets,
  refusal: Refusal,
): ParkingPlan['input'] {
  if (entry.kind === 'unreadable') {
    return [{ ...coordinates, lastOffset: entry.lastOffset, ...refusal }];
  }
  const { value, key } = entry;
  if (lengthOf(key) + lengthOf(value) + headersLength(entry) > maxCarriedBytes) {
    return [{ ...coordinates, lastOffset: entry.offset, ...refusal }];
  }
  return [refusedMessage(coordinates, refusal, entry), value];
}

/** Most bytes of a message that travel through Temporal, which takes 2 MiB as an input (bytes). */
const maxCarriedBytes = 1024 * 1024;

/** Most bytes of headers that travel with an event. */
const maxCarriedHeaderBytes = 64 * 1024;

/** What the JSON of a header takes beside its bytes, at the most. */
const headerOverheadBytes = 48;

function lengthOf(bytes: Buffer | null): number {
  return bytes?.length ?? 0;
}

// Base64 makes four bytes of three.
function headersLength({ headers }: LogRecord): number {
  return headers.reduce(
    (sum, { name, value }) =>
      sum + headerOverheadBytes + ((2 * name.length + lengthOf(value)) * 4) / 3,
    0,
  );
}

/**
 * The workflow for many events, in their order; at least one. It is named by what is in it: the
 * same messages again join it while it runs, others never do, whatever IDs they claim.
 *
 * @param doneBy one of their IDs, by which the database tells that they are done, since they are
 * applied in one statement: of an event that is still to be handled, if there is one
 */
export function planBatch(events: readonly ReceivedEvent[], doneBy: string): BatchPlan {
  const offsets: Record<string, [number, number]> = {};
  for (const { topic, partition, offset } of events) {
    const place = `${topic}/${partition}`;
    const [first, last] = offsets[place] ?? [offset, offset];
    offsets[place] = [Math.min(first, offset), Math.max(last, offset)];
  }
  return {
    type: workflowTypes.handleEventBatch,
    workflowId: workflowIds.handleEventBatch(deriveBatchUuid(events)),
    doneBy,
    offsets,
    input: [events],
  };
}

function planHandling({ topic, partition }: PartitionMessage, record: LogRecord): HandlingPlan {
  const { key, value, offset } = record;
  const event = parseMessage({ topic, key, value });
  const received: ReceivedEvent = {
    topic,
    partition,
    offset,
    eventId: event.id,
    key: event.subject,
    value: value!.toString('utf8'),
    ...carriedHeaders(record),
    producedAt: producedAt(record),
  };
  return {
    type: workflowTypes.handleEvent,
    workflowId: workflowIds.handleEvent(event.id),
    doneBy: event.id,
    bytes: value!.length + Math.min(headersLength(record), maxCarriedHeaderBytes),
    event,
    input: [received],
  };
}

/** The headers that handling looks at. */
const handlingHeaders = [traceparentHeader, redrivenFromHeader].map((name) => Buffer.from(name));

function carriedHeaders(record: LogRecord): Pick<ReceivedEvent, 'headers' | 'headersInKafka'> {
  if (headersLength(record) <= maxCarriedHeaderBytes) {
    return { headers: record.headers.map(encodeHeader) };
  }
  const needed = handlingHeaders.flatMap(
    (name) => record.headers.findLast((header) => header.name.equals(name)) ?? [],
  );
  const fits = needed.filter(({ value }) => lengthOf(value) <= 1024);
  return { headers: fits.map(encodeHeader), headersInKafka: true };
}
