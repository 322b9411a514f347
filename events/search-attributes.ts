/** The search attributes of workflows, all of them keywords: everybody who registers or sets them agrees on these. */

/** Their names, as Temporal knows them. */
export const searchAttributeNames = {
  eventType: 'EventType',
  aggregateId: 'AggregateId',
  orderStatus: 'OrderStatus',
} as const;
