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
export type WorkflowPlan =
  | {
      readonly type: typeof workflowTypes.handleEvent;
      readonly workflowId: string;
      readonly event: Event;
      readonly input: [event: ReceivedEvent];
    }
  | {
      readonly type: typeof workflowTypes.parkDeadLetter;
      readonly workflowId: string;
      readonly input: [message: RefusedMessage, value: Uint8Array | null];
    };

/** A message of a partition. */
export interface PartitionMessage {
  readonly topic: string;
  readonly partition: number;
  readonly message: KafkaMessage;
}

/** The workflow for a message. Every message has one: what is no event is parked, never dropped. */
export function planWorkflow(received: PartitionMessage): WorkflowPlan {
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
): WorkflowPlan {
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
  return {
    type: workflowTypes.parkDeadLetter,
    workflowId: workflowIds.parkDeadLetter(coordinates),
    input: [refused, message.value],
  };
}

function planHandling({ topic, partition, message }: PartitionMessage): WorkflowPlan {
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
