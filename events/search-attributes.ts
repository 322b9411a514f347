/** The search attributes of workflows, all of type Keyword. */

/** Their names in Temporal. */
export const searchAttributeNames = {
  eventType: 'EventType',
  aggregateId: 'AggregateId',
  orderStatus: 'OrderStatus',
} as const;
