/**
 * Chooses the workflow for a message: the one that handles its event or, if it is invalid, the one that
 * parks it. Pure: depends on the message alone, and never fails.
 */
import type { Event } from '../events/envelope';
import { toRefusal } from '../events/errors';
import { deriveBatchUuid } from './batch-uuid';
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
  /** Size of the input, before JSON escapes. */
  readonly bytes: number;
  readonly event: Event;
  readonly input: [event: ReceivedEvent];
}

/** The workflow that handles many events, or one that may be a duplicate. */
export interface BatchPlan extends Plan {
  /** The first and the last offset of its events, by `topic/partition`. */
  readonly offsets: BatchOffsets;
  readonly type: typeof workflowTypes.handleEventBatch;
  readonly input: [events: readonly ReceivedEvent[]];
}

/** The workflow that parks a message. */
export interface ParkingPlan extends Plan {
  readonly type: typeof workflowTypes.parkDeadLetter;
  readonly input: [message: RefusedMessage, value: Uint8Array | null] | [offsets: RefusedOffsets];
}

/** The workflow that records which offsets vanished unread. */
export interface VanishedPlan extends Plan {
  readonly type: typeof workflowTypes.recordVanishedOffsets;
  readonly input: [offsets: VanishedOffsets];
}

interface Plan {
  readonly workflowId: string;
  /**
   * The ID by which the database knows that the work is done: the event's, or that of the workflow that
   * parks the message.
   */
  readonly doneBy: string;
}

/** A message of a partition, or an unreadable range of it. */
export interface PartitionMessage {
  readonly topic: string;
  readonly partition: number;
  readonly entry: LogRecord | UnreadableOffsets;
}

/** The workflow for a message. Every message has one: an invalid one is parked, never dropped. */
export function planWorkflow(received: PartitionMessage): HandlingPlan | ParkingPlan {
  const { entry } = received;
  if (entry.kind === 'unreadable') return planParking(received, entry);
  try {
    return planHandling(received, entry);
  } catch (error) {
    return planParkingAnyway(received, toRefusal(error));
  }
}

// The message that made planning throw may make parking throw, too: then only its coordinates are
// passed on.
function planParkingAnyway(received: PartitionMessage, refusal: Refusal): ParkingPlan {
  try {
    return planParking(received, refusal);
  } catch {
    const { topic, partition, entry } = received;
    const coordinates = { topic, partition, offset: entry.offset };
    return toParkingPlan(coordinates, [{ ...coordinates, lastOffset: entry.offset, ...refusal }]);
  }
}

/** The workflow that parks a message, with the reason. */
export function planParking(
  { topic, partition, entry }: PartitionMessage,
  { reason, detail }: Pick<Refusal, 'reason' | 'detail'>,
): ParkingPlan {
  const coordinates = { topic, partition, offset: entry.offset };
  return toParkingPlan(coordinates, parkingInput(coordinates, entry, { reason, detail }));
}

/** The same for a message that is too large for Temporal: the parking activity reads it from Kafka. */
export function planParkingByCoordinates({ input: [message] }: ParkingPlan): ParkingPlan {
  const { topic, partition, offset, reason, detail } = message;
  const lastOffset = 'lastOffset' in message ? message.lastOffset : offset;
  const coordinates = { topic, partition, offset };
  return toParkingPlan(coordinates, [{ ...coordinates, lastOffset, reason, detail }]);
}

/** The workflow that records which offsets vanished unread. */
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

/** Most bytes of a message that pass through Temporal, whose limit for an input is 2 MiB. */
const maxCarriedBytes = 1024 * 1024;

/** Most bytes of headers that are passed on with an event. */
const maxCarriedHeaderBytes = 64 * 1024;

/** Most bytes that JSON adds to a header. */
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
 * The workflow for many events, in their order; at least one. Its ID is derived from its content: the
 * same messages join it while it runs, others never do, whatever IDs they claim.
 *
 * @param doneBy one of their IDs, by which the database knows that all are done, since they are applied
 *   in one statement: that of an event not yet handled, if there is one
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

/** The headers that handling reads. */
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
