/**
 * The ID of every workflow: built here, read here, and spelled nowhere else. The same work never runs
 * twice at once, since its ID says what it is about.
 *
 * An event's workflow has the event's ID as it is, so events may not take an ID that begins like that
 * of another kind of workflow.
 */

const prefixes = {
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

/** Builds the ID of a workflow of each type from what it is about. */
export const workflowIds = {
  registerProduct: (productId: string) => prefixes.registerProduct + productId,
  adjustStock: (adjustmentId: string) => prefixes.adjustStock + adjustmentId,
  changeLike: (requestId: string) => prefixes.changeLike + requestId,
  placeOrder: (orderId: string) => prefixes.placeOrder + orderId,
  /** From the first of the events. */
  publishEvents: (eventId: string) => prefixes.publishEvents + eventId,
  /** An event's workflow has the event's ID, nothing before or after it. */
  handleEvent: (eventId: string) => eventId,
  /** From a UUID that is derived from its messages. */
  handleEventBatch: (uuid: string) => prefixes.handleEventBatch + uuid,
  parkDeadLetter: ({ topic, partition, offset }: PlaceInLog) =>
    `${prefixes.parkDeadLetter}${topic}-${partition}-${offset}`,
  /** From the number of the attempt: a redrive that is requested meanwhile joins this one. */
  redriveDeadLetter: (deadLetterId: number, attempt: number) =>
    `${prefixes.redriveDeadLetter}${deadLetterId}-${attempt}`,
  /** Under the prefix of parking, so that no further event IDs are reserved for it. */
  discardDeadLetter: (deadLetterId: number) => `${prefixes.parkDeadLetter}discard-${deadLetterId}`,
  /** Under the prefix of parking, for the same reason. */
  recordVanishedOffsets: ({ topic, partition, from, to }: OffsetRange) =>
    `${prefixes.parkDeadLetter}vanished-${topic}-${partition}-${from}-${to ?? 'unknown'}`,
} as const;

/** A message's place, as far as it is known. */
interface PlaceInLog {
  readonly topic: string;
  readonly partition: number | null;
  readonly offset: number | null;
}

/** Offsets of a partition, both included; `to` is absent where nobody knows it. */
interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to?: number;
}

/** The schedule that runs the delivery audit; the IDs of its workflows begin with it. */
export const deliveryAuditScheduleId = prefixes.auditDelivery;

/** A query for Temporal's list of workflows: every batch that has not ended. */
export const openBatchesQuery = `ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${prefixes.handleEventBatch}'`;

/**
 * The first and the last offset of a batch of one partition, which earlier versions put into its ID
 * as `batch-<topic>-<partition>-<first>-<last>`. Undefined for any other ID.
 */
export function readBatchOffsets(
  workflowId: string,
  { topic, partition }: Omit<PlaceInLog, 'offset'>,
): readonly [first: number, last: number] | undefined {
  const start = `${prefixes.handleEventBatch}${topic}-${partition}-`;
  const offsets = workflowId.startsWith(start)
    ? /^(\d+)-(\d+)$/.exec(workflowId.slice(start.length))
    : null;
  return offsets === null ? undefined : [Number(offsets[1]), Number(offsets[2])];
}

// Temporal names the workflows behind its schedules so.
const temporalSystemPrefix = 'temporal-sys-';

/** What the ID of no event may begin with. */
export const reservedEventIdPrefixes: readonly string[] = [
  ...Object.values(prefixes),
  temporalSystemPrefix,
];

/** Whether an event's ID could be mistaken for the ID of another kind of workflow. */
export function isReservedEventId(eventId: string): boolean {
  return reservedEventIdPrefixes.some((prefix) => eventId.startsWith(prefix));
}
