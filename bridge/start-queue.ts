/**
 * The queue in which the slices of all partitions meet, and what can be taken from it: a message by
 * itself, or all that fits into one batch.
 */
import type { Delivery } from './delivery';
import type { HandlingPlan, ParkingPlan, PartitionMessage } from './workflow-plan';

/** A message that waits for a slot. */
export interface Waiting {
  readonly plan: HandlingPlan | ParkingPlan;
  readonly message: PartitionMessage;
  readonly delivery: Delivery<Waiting>;
  /** Temporal knows a workflow of the event's ID: only a batch compares the event with the log. */
  readonly isKnown: boolean;
  /** May have been delivered before, so that it may be handled already. */
  readonly mayBeRedelivered: boolean;
  /** May share a batch: not after Temporal has rejected the batch that it was in as too large. */
  readonly mayShare: boolean;
}

/** A waiting event. */
export interface WaitingEvent extends Waiting {
  readonly plan: HandlingPlan;
}

/** What one workflow is started for; it takes one slot. */
export type Start =
  | { readonly kind: 'single'; readonly message: Waiting }
  | { readonly kind: 'batch'; readonly events: readonly WaitingEvent[] };

/** Waiting messages, first come first served. */
export interface StartQueue {
  isEmpty(): boolean;
  push(messages: readonly Waiting[]): void;
  /** Puts back what was taken. */
  unshift(messages: readonly Waiting[]): void;
  /** Whether so many messages wait at most. Copies of an event count, too: each is a start of its own. */
  hasAtMost(count: number): boolean;
  /** Takes the first message; if Temporal knows its event, all known ones that fit share a batch. */
  takeOne(): Start | undefined;
  /** Takes the first event that may share a batch, and all others that fit into it. */
  takeBatch(): Start | undefined;
  /** Takes the first message that is in no batch. */
  takeSingle(): Start | undefined;
  /** Removes what has come with a delivery. */
  remove(delivery: Delivery<Waiting>): Waiting[];
}

/** Most events in a batch. */
export const maxBatchEvents = 2_000;

/** Most bytes of events in a batch: Temporal's limit for an input, with room for escapes. */
const maxBatchBytes = 1024 * 1024;

export function createStartQueue(): StartQueue {
  let queue: Waiting[] = [];
  const fillBatch = (joins: (event: WaitingEvent) => boolean): Start | undefined => {
    const events: WaitingEvent[] = [];
    const rest: Waiting[] = [];
    let bytes = 0;
    for (const message of queue) {
      if (isEvent(message) && joins(message) && fits(message, events.length, bytes)) {
        events.push(message);
        bytes += message.plan.bytes;
      } else {
        rest.push(message);
      }
    }
    if (events.length === 0) return undefined;
    queue = rest;
    return { kind: 'batch', events };
  };
  const takeAt = (index: number): Start | undefined => {
    const message = queue[index];
    if (message === undefined) return undefined;
    if (isEvent(message) && message.isKnown) {
      const joins = ({ isKnown, mayShare }: WaitingEvent): boolean => isKnown && mayShare;
      return fillBatch((event) => (message.mayShare ? joins(event) : event === message));
    }
    queue.splice(index, 1);
    return { kind: 'single', message };
  };
  return {
    isEmpty: () => queue.length === 0,
    push(messages) {
      for (const message of messages) queue.push(message);
    },
    unshift(messages) {
      queue = [...messages, ...queue];
    },
    hasAtMost: (count) => queue.length <= count,
    takeOne: () => takeAt(0),
    takeBatch: () => fillBatch(({ mayShare }) => mayShare),
    takeSingle: () => takeAt(queue.findIndex((message) => !isEvent(message) || !message.mayShare)),
    remove(delivery) {
      const removed = queue.filter((message) => message.delivery === delivery);
      queue = queue.filter((message) => message.delivery !== delivery);
      return removed;
    },
  };
}

/** Everything that a start is for. */
export function messagesOf(start: Start): readonly Waiting[] {
  return start.kind === 'single' ? [start.message] : start.events;
}

function isEvent(message: Waiting): message is WaitingEvent {
  return message.plan.type === 'handleEvent';
}

function fits({ plan }: WaitingEvent, count: number, bytes: number): boolean {
  return count === 0 || (count < maxBatchEvents && bytes + plan.bytes <= maxBatchBytes);
}
