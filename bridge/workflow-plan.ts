/**
 * What is to be done with a message: the workflow that handles its event or, where it is none, the
 * one that parks it. Pure: decided from the message alone.
 */
import type { KafkaMessage } from 'kafkajs';
import type { Event } from '../events/envelope';
import { InvalidEventError } from '../events/errors';
import { parseMessage } from '../events/parse';
import {
  encodeBytes,
  type Coordinates,
  type ReceivedEvent,
  type ReceivedHeader,
  type RefusedMessage,
} from '../events/received';
import { workflowIds, workflowTypes } from '../workflows/names';

/** A workflow to be started. */
export type WorkflowPlan = HandlingPlan | BatchPlan | ParkingPlan;

/** The workflow that handles one event. */
export interface HandlingPlan extends Plan {
  readonly type: typeof workflowTypes.handleEvent;
  readonly event: Event;
  readonly input: [event: ReceivedEvent];
}

/** The workflow that handles many events of a partition. */
export interface BatchPlan extends Plan {
  readonly type: typeof workflowTypes.handleEventBatch;
  readonly input: [events: readonly ReceivedEvent[]];
}

/** The workflow that parks a message. */
export interface ParkingPlan extends Plan {
  readonly type: typeof workflowTypes.parkDeadLetter;
  readonly input: [message: RefusedMessage, value: Uint8Array | null];
}

interface Plan {
  readonly workflowId: string;
  /**
   * The ID by which the database tells that the work is done: that of an event to be handled, or of
   * the workflow that parks a message.
   */
  readonly doneBy: string;
}

/** A message of a partition. */
export interface PartitionMessage {
  readonly topic: string;
  readonly partition: number;
  readonly message: KafkaMessage;
}

/** The workflow for a message. Every message has one: what is no event is parked, never dropped. */
export function planWorkflow(received: PartitionMessage): HandlingPlan | ParkingPlan {
  try {
    return planHandling(received);
  } catch (error) {
    if (!(error instanceof InvalidEventError)) throw error;
    return planParking(received, { reason: error.code, detail: error.message });
  }
}

/** The workflow that parks a message, for the reason given. */
export function planParking(
  { topic, partition, message }: PartitionMessage,
  why: Pick<RefusedMessage, 'reason' | 'detail'>,
): ParkingPlan {
  const coordinates = coordinatesOf({ topic, partition, message });
  const eventId = claimedEventId(message);
  const refused: RefusedMessage = {
    ...coordinates,
    ...why,
    key: message.key === null ? null : encodeBytes(message.key),
    headers: receivedHeaders(message),
    producedAt: producedAt(message),
    ...(eventId === undefined ? {} : { eventId }),
  };
  const workflowId = workflowIds.parkDeadLetter(coordinates);
  return {
    type: workflowTypes.parkDeadLetter,
    workflowId,
    doneBy: workflowId,
    input: [refused, message.value],
  };
}

/**
 * The workflow for many events of one partition, in their order; at least one. The database tells
 * by the last of them that they are done, since they are applied in one statement.
 */
export function planBatch(events: readonly ReceivedEvent[]): BatchPlan {
  const [first, last] = [events[0]!, events.at(-1)!];
  return {
    type: workflowTypes.handleEventBatch,
    workflowId: workflowIds.handleEventBatch(first, last.offset),
    doneBy: last.eventId,
    input: [events],
  };
}

function planHandling({ topic, partition, message }: PartitionMessage): HandlingPlan {
  const { key, value } = message;
  const event = parseMessage({ topic, key, value });
  const received: ReceivedEvent = {
    ...coordinatesOf({ topic, partition, message }),
    eventId: event.id,
    key: event.subject,
    value: value!.toString('utf8'),
    headers: receivedHeaders(message),
    producedAt: producedAt(message),
  };
  return {
    type: workflowTypes.handleEvent,
    workflowId: workflowIds.handleEvent(event.id),
    doneBy: event.id,
    event,
    input: [received],
  };
}

function coordinatesOf({ topic, partition, message }: PartitionMessage): Coordinates {
  return { topic, partition, offset: Number(message.offset) };
}

function producedAt(message: KafkaMessage): number {
  // A producer may send any number; one that is no time would be refused by the database.
  const time = Number(message.timestamp);
  return Number.isFinite(time) && time >= 0 && time <= latestTime ? time : 0;
}

const latestTime = Date.UTC(9999, 11, 31);

function receivedHeaders({ headers = {} }: KafkaMessage): ReceivedHeader[] {
  return Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value) => ({
      // A NUL cannot be stored as text; its picture can.
      name: name.replaceAll('\0', '\u2400'),
      ...encodeBytes(Buffer.from(value ?? '')),
    })),
  );
}

// A message that is no event may still say which one it was meant to be.
function claimedEventId({ headers = {} }: KafkaMessage): string | undefined {
  const claimed = [headers['ce_id']].flat()[0]?.toString();
  return claimed !== undefined && /^[\x21-\x7e]{1,128}$/.test(claimed) ? claimed : undefined;
}
