/**
 * What starts a workflow needs to know of it besides its ID, and nothing else: task queues, types, search
 * attributes and messages. Importing this file brings no workflow code along.
 */
import { defineSearchAttributeKey } from '@temporalio/common';
import { searchAttributeNames } from './search-attributes';

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
