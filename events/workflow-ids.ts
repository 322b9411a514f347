/**
 * How the IDs of workflows begin. An event's workflow bears the event's ID as it is, so events may
 * not take an ID that begins like that of another kind of workflow.
 */

/** How the ID of each kind of workflow begins, apart from the workflows that handle one event. */
export const workflowIdPrefixes = {
  placeOrder: 'order-',
  registerProduct: 'product-',
  adjustStock: 'stock-adjustment-',
  changeLike: 'like-',
  publishEvents: 'publish-',
  handleEventBatch: 'batch-',
  parkDeadLetter: 'dead-letter-',
  redriveDeadLetter: 'redrive-',
  auditDelivery: 'delivery-audit',
} as const;

// Temporal names the workflows behind its schedules so.
const temporalSystemPrefix = 'temporal-sys-';

/** What the ID of no event may begin with. */
export const reservedEventIdPrefixes: readonly string[] = [
  ...Object.values(workflowIdPrefixes),
  temporalSystemPrefix,
];

/** Whether an event's ID could be mistaken for the ID of another kind of workflow. */
export function isReservedEventId(eventId: string): boolean {
  return reservedEventIdPrefixes.some((prefix) => eventId.startsWith(prefix));
}
