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

/**
 * Task queues of other activities that may wait for one server, for the same reason. Publishing stays on
 * the workflows' own queue, where Temporal hands an activity out with the workflow task that asks for it.
 */
export const waitingTaskQueues = {
  /** Charges, and their last look-ups. */
  payments: 'commerce-payments',
  /** Refunds, which go on until the gateway has answered. */
  refunds: 'commerce-refunds',
  /** The shop's changes of state that could not be made within the workflow task. */
  state: 'commerce-state',
  /** Evictions from the cache that could not be made within the workflow task. */
  evictions: 'collector-evictions',
} as const;

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
