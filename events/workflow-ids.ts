/**
 * Builder and parser of the workflow IDs of orders and events; those of the other commands follow from
 * their definitions in commands/. IDs are spelled nowhere else. An ID names its work, so the same work
 * never runs twice at once.
 *
 * An event's workflow has the event's ID, so event IDs with the prefix of another kind of workflow are
 * reserved.
 */

const prefixes = {
  placeOrder: 'order-',
  publishEvents: 'publish-',
  handleEventBatch: 'batch-',
  parkDeadLetter: 'dead-letter-',
  redriveDeadLetter: 'redrive-',
  notify: 'notification-',
  auditDelivery: 'delivery-audit',
} as const;

/** Builds the ID of a workflow of each type. */
export const workflowIds = {
  placeOrder: (orderId: string) => prefixes.placeOrder + orderId,
  /** From the first of the events, or a UUID where each attempt is work of its own. */
  publishEvents: (id: string) => prefixes.publishEvents + id,
  /** The event's ID, unchanged. */
  handleEvent: (eventId: string) => eventId,
  /** From a UUID that is derived from its messages. */
  handleEventBatch: (uuid: string) => prefixes.handleEventBatch + uuid,
  parkDeadLetter: ({ topic, partition, offset }: PlaceInLog) =>
    `${prefixes.parkDeadLetter}${topic}-${partition}-${offset}`,
  /** From the number of the attempt: a redrive that is requested meanwhile joins this one. */
  redriveDeadLetter: (deadLetterId: number, attempt: number) =>
    `${prefixes.redriveDeadLetter}${deadLetterId}-${attempt}`,
  /** One for each kind of notification that an event is due. */
  notify: (notification: string, eventId: string) => `${prefixes.notify}${notification}-${eventId}`,
  /** Under the prefix of parking, so that no further event IDs are reserved for it. */
  discardDeadLetter: (deadLetterId: number) => `${prefixes.parkDeadLetter}discard-${deadLetterId}`,
  /** Under the prefix of parking, for the same reason. */
  recordVanishedOffsets: ({ topic, partition, from, to }: OffsetRange) =>
    `${prefixes.parkDeadLetter}vanished-${topic}-${partition}-${from}-${to ?? 'unknown'}`,
} as const;

/** A message's position, as far as it is known. */
interface PlaceInLog {
  readonly topic: string;
  readonly partition: number | null;
  readonly offset: number | null;
}

/** Offsets of a partition, inclusive; `to` is absent where unknown. */
interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to?: number;
}

/** What the IDs of these workflows begin with, those of events left out. */
export const workflowIdPrefixes: readonly string[] = Object.values(prefixes);

/** The schedule that runs the delivery audit; the IDs of its workflows begin with it. */
export const deliveryAuditScheduleId = prefixes.auditDelivery;

/** Visibility query: every running batch. */
export const openBatchesQuery = `ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${prefixes.handleEventBatch}'`;

/**
 * The first and last offset of a batch of one partition, which earlier versions put into its ID as
 * `batch-<topic>-<partition>-<first>-<last>`. Undefined for any other ID.
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
