/**
 * What a workflow's caller needs besides its ID: task queues, types, search attributes and
 * messages. Importing this file imports no workflow code.
 */
import { defineSearchAttributeKey } from '@temporalio/common';
import { searchAttributeNames } from './search-attributes';

/** The task queues: the shop's side and the collector's. */
export const taskQueues = { commerce: 'commerce', collector: 'collector' } as const;

/**
 * The task queue of the activity that calls receivers outside, which may be away for long: its worker
 * has few slots of its own, so that it holds up nothing else. It runs no workflows, so it has no
 * versions.
 */
export const notificationsTaskQueue = 'notifications';

/** Types of the workflows; a command in commands/ has the name of its workflow. */
export const workflowTypes = {
  placeOrder: 'placeOrder',
  publishEvents: 'publishEvents',
  handleEvent: 'handleEvent',
  handleEventBatch: 'handleEventBatch',
  parkDeadLetter: 'parkDeadLetter',
  redriveDeadLetter: 'redriveDeadLetter',
  discardDeadLetter: 'discardDeadLetter',
  notify: 'notify',
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
 * The update that returns a command's outcome as soon as it is decided, while its events are still
 * being published. Update-with-start of the command's workflow.
 */
export const decisionUpdate = 'decision';

/**
 * The update that cancels an order and returns its outcome: `cancelled`, whoever asked first.
 * Update-with-start, so that an order whose workflow has finished can be cancelled, too.
 */
export const cancelUpdate = 'cancel';

/** The query for an order's progress. */
export const orderStateQuery = 'state';
