/**
 * What starts a workflow needs to know of it, and nothing else: task queues, types, IDs, search
 * attributes and messages. Importing this file brings no workflow code along.
 */
import { defineSearchAttributeKey } from '@temporalio/common';
import { searchAttributeNames } from './search-attributes';
import { workflowIdPrefixes } from './workflow-ids';
import type { Coordinates, VanishedOffsets } from './received';

/** The task queues: the shop's side and the collector's. */
export const taskQueues = { commerce: 'commerce', collector: 'collector' } as const;

/** The types of the workflows. */
export const workflowTypes = {
  registerProduct: 'registerProduct',
  adjustStock: 'adjustStock',
  changeLike: 'changeLike',
  placeOrder: 'placeOrder',
  publishEvents: 'publishEvents',
  handleEvent: 'handleEvent',
  handleEventBatch: 'handleEventBatch',
  parkDeadLetter: 'parkDeadLetter',
  redriveDeadLetter: 'redriveDeadLetter',
  discardDeadLetter: 'discardDeadLetter',
  recordVanishedOffsets: 'recordVanishedOffsets',
  auditDelivery: 'auditDelivery',
} as const;

/** The ID of each workflow, from what it is about: the same work never runs twice at once. */
export const workflowIds = {
  registerProduct: (productId: string) => workflowIdPrefixes.registerProduct + productId,
  adjustStock: (adjustmentId: string) => workflowIdPrefixes.adjustStock + adjustmentId,
  changeLike: (requestId: string) => workflowIdPrefixes.changeLike + requestId,
  placeOrder: (orderId: string) => workflowIdPrefixes.placeOrder + orderId,
  /** From the first of the events. */
  publishEvents: (eventId: string) => workflowIdPrefixes.publishEvents + eventId,
  /** An event's workflow bears the event's ID, nothing before or after it. */
  handleEvent: (eventId: string) => eventId,
  /** From a UUID that is derived from its messages. */
  handleEventBatch: (uuid: string) => workflowIdPrefixes.handleEventBatch + uuid,
  parkDeadLetter: ({ topic, partition, offset }: Coordinates) =>
    `${workflowIdPrefixes.parkDeadLetter}${topic}-${partition}-${offset}`,
  /** From the number of the attempt: whoever redrives a dead letter meanwhile joins this one. */
  redriveDeadLetter: (deadLetterId: number, attempt: number) =>
    `${workflowIdPrefixes.redriveDeadLetter}${deadLetterId}-${attempt}`,
  /** Under the prefix of parking, so that no further event IDs are reserved for it. */
  discardDeadLetter: (deadLetterId: number) =>
    `${workflowIdPrefixes.parkDeadLetter}discard-${deadLetterId}`,
  /** Under the prefix of parking, for the same reason. */
  recordVanishedOffsets: ({ topic, partition, from, to }: VanishedOffsets) =>
    `${workflowIdPrefixes.parkDeadLetter}vanished-${topic}-${partition}-${from}-${to ?? 'unknown'}`,
} as const;

/** The schedule that runs the delivery audit; the IDs of its workflows begin so, too. */
export const deliveryAuditScheduleId = workflowIdPrefixes.auditDelivery;

/** Search attributes; `npm run migrate` registers them with the namespace. */
export const searchAttributes = {
  eventType: defineSearchAttributeKey(searchAttributeNames.eventType, 'KEYWORD'),
  aggregateId: defineSearchAttributeKey(searchAttributeNames.aggregateId, 'KEYWORD'),
  orderStatus: defineSearchAttributeKey(searchAttributeNames.orderStatus, 'KEYWORD'),
} as const;

/**
 * The update that answers a command's outcome as soon as it is decided, while its events are still
 * being published. Sent together with the start of the command's workflow.
 */
export const decisionUpdate = 'decision';

/**
 * The update that cancels an order and answers its outcome: `cancelled`, whoever asked first. Sent
 * to an order's workflow, or together with a new start of it when that has finished.
 */
export const cancelUpdate = 'cancel';

/** The query that answers where an order stands. */
export const orderStateQuery = 'state';
