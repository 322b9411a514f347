/**
 * `auditDelivery`: looks from end to end whether every event has arrived and every order is decided,
 * and starts again what was left behind. Run by a schedule; nobody has to trust an acknowledgement.
 *
 * Its parts come one after the other, page by page. A part that fails does not keep the others from
 * being audited: the run fails at its end, and the schedule's next run tries again.
 */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  continueAsNew,
  isCancellation,
  ParentClosePolicy,
  patched,
  proxyActivities,
  startChild,
  workflowInfo,
  type ActivityOptions,
  type ChildWorkflowOptions,
} from '@temporalio/workflow';
import type { createCollectorAuditActivities } from '../activities/collector/delivery-audit';
import type { createVanishedOffsetsActivities } from '../activities/collector/vanished-offsets';
import type { createShopAuditActivities } from '../activities/commerce/delivery-audit';
import { workflowIds } from '../events/workflow-ids';
import { searchAttributes, taskQueues, workflowTypes } from '../events/workflow-names';

/** From which age on something counts as left behind, each in ms. */
export interface DeliveryAuditOptions {
  /** Age of an event that nobody has published. */
  readonly unpublishedAfterMs: number;
  /** Age of a publication that is to be confirmed. */
  readonly unconfirmedAfterMs: number;
  /** Age of a log entry that is neither handled nor parked. */
  readonly unhandledAfterMs: number;
  /** Age of an order that is not decided. */
  readonly undecidedAfterMs: number;
}

/** How much the audit has found. All but `confirmed` and `handledUntil` are 0 in a healthy system. */
export interface DeliveryAuditSummary {
  /** Events that nobody had published, also those found before; they are being published now. */
  readonly unpublished: number;
  /** Published events that were lost, and were sent again. */
  readonly republished: number;
  /** Published events that have been found to have arrived, or were given up by a person. */
  readonly confirmed: number;
  /** Orders that were not decided; they are being carried on. */
  readonly undecided: number;
  /** Logged events that were neither handled nor parked; they are being handled now. */
  readonly unhandled: number;
  /** Every event logged before is handled or parked, in ms since the epoch: the next run begins here. */
  readonly handledUntil: number;
}

/** How far a run has come, when it goes on as a new one. */
export interface DeliveryAuditProgress {
  /** When the audit began, in ms since the epoch: what is younger is the next one's. */
  readonly startedAt: number;
  /** Position of the part under way. */
  readonly part: number;
  /** Where in that part to go on; its first page if absent. */
  readonly cursor?: Cursor;
  readonly summary: Summary;
  /** What could not be audited, and why. */
  readonly failures: readonly string[];
}

type ShopActivities = ReturnType<typeof createShopAuditActivities>;
type CollectorActivities = ReturnType<typeof createCollectorAuditActivities> &
  Pick<ReturnType<typeof createVanishedOffsetsActivities>, 'noteProgress'>;

/** Every activity that the audit calls itself: who makes one up for a test makes up all of them. */
export type AuditActivities = ShopActivities & CollectorActivities;

/** Audits everything once. @throws ApplicationFailure of type `AUDIT_INCOMPLETE` when a part failed */
export async function auditDelivery(
  options: DeliveryAuditOptions,
  given?: DeliveryAuditProgress,
): Promise<DeliveryAuditSummary> {
  let progress = given ?? begin(options);
  while (progress.part < parts.length) {
    progress = await auditPage(options, progress);
    if (workflowInfo().continueAsNewSuggested) {
      await continueAsNew<typeof auditDelivery>(options, progress);
    }
  }
  const { summary, failures } = progress;
  if (failures.length === 0) return summary;
  throw ApplicationFailure.create({
    type: 'AUDIT_INCOMPLETE',
    message: `Not everything could be audited; the next run tries again. ${failures.join('; ')}`,
    nonRetryable: true,
    details: [summary],
  });
}

// Bounded: the schedule is what tries again without end.
const untilNextAudit: ActivityOptions = {
  startToCloseTimeout: '60 seconds',
  scheduleToCloseTimeout: '2 minutes',
};

const shop = proxyActivities<ShopActivities>({
  ...untilNextAudit,
  taskQueue: taskQueues.commerce,
});
const collector = proxyActivities<CollectorActivities>({
  ...untilNextAudit,
  taskQueue: taskQueues.collector,
});

const eventsPerPage = 1_000;

/** Each item of these pages gets a workflow, or shares one that should stay small. */
const workflowsPerPage = 100;

/** How far back the first audit looks for events that were not handled; later ones begin where it ended. */
const reachMs = 7 * 24 * 3_600_000;

/** Bounds what one query for unhandled events has to look through. */
const windowMs = 24 * 3_600_000;

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Summary = Mutable<DeliveryAuditSummary>;

/** Where a part goes on: behind an outbox sequence, an ID, or an ID within a window of time. */
interface Cursor {
  readonly sequence?: number;
  readonly id?: string;
  readonly from?: number;
}

interface Page {
  readonly options: DeliveryAuditOptions;
  readonly startedAt: number;
  readonly cursor: Cursor;
  /** Added to as findings are made. */
  readonly summary: Summary;
}

/** A part of the audit: does one page of it, and answers where the next one begins, if there is one. */
type Part = (page: Page) => Promise<Cursor | undefined>;

const parts: readonly { readonly name: string; readonly audit: Part }[] = [
  { name: 'unpublished events', audit: auditUnpublished },
  { name: 'unconfirmed events', audit: auditUnconfirmed },
  { name: 'undecided orders', audit: auditUndecided },
  { name: 'unhandled events', audit: auditUnhandled },
  { name: 'vanished offsets', audit: auditOffsets },
];

function begin({ unhandledAfterMs }: DeliveryAuditOptions): DeliveryAuditProgress {
  const startedAt = Date.now();
  const handledUntil = startedAt - unhandledAfterMs;
  const found = { unpublished: 0, republished: 0, confirmed: 0, undecided: 0, unhandled: 0 };
  return { startedAt, part: 0, summary: { ...found, handledUntil }, failures: [] };
}

async function auditPage(
  options: DeliveryAuditOptions,
  { startedAt, part, cursor = {}, summary, failures }: DeliveryAuditProgress,
): Promise<DeliveryAuditProgress> {
  const { name, audit } = parts[part]!;
  try {
    const next = await audit({ options, startedAt, cursor, summary });
    if (next !== undefined) return { startedAt, part, cursor: next, summary, failures };
    return { startedAt, part: part + 1, summary, failures };
  } catch (error) {
    if (!(error instanceof ActivityFailure) || isCancellation(error)) throw error;
    const failure = `${name}: ${error.cause?.message ?? error.message}`;
    return { startedAt, part: part + 1, summary, failures: [...failures, failure] };
  }
}

async function auditUnpublished({ options, startedAt, cursor, summary }: Page) {
  const { firstEventId, aggregates, events, next } = await shop.findUnpublished({
    before: startedAt - options.unpublishedAfterMs,
    after: cursor.sequence ?? 0,
    limit: workflowsPerPage,
  });
  summary.unpublished += events;
  if (firstEventId !== undefined) {
    await startUnlessRunning(workflowTypes.publishEvents, {
      workflowId: workflowIds.publishEvents(firstEventId),
      taskQueue: taskQueues.commerce,
      args: [{ aggregates }],
    });
  }
  return next === undefined ? undefined : { sequence: next };
}

async function auditUnconfirmed({ options, startedAt, cursor, summary }: Page) {
  const { publications, next } = await shop.findUnconfirmed({
    before: startedAt - options.unconfirmedAfterMs,
    after: cursor.sequence ?? 0,
    limit: eventsPerPage,
  });
  if (publications.length > 0) {
    const { arrived, lost } = await collector.lookUpArrivals(publications);
    if (arrived.length > 0) summary.confirmed += await shop.markDelivered(arrived);
    if (lost.length > 0) summary.republished += await shop.sendAgain(lost);
  }
  return next === undefined ? undefined : { sequence: next };
}

async function auditUndecided({ options, startedAt, cursor, summary }: Page) {
  const { orderIds, next } = await shop.findUndecided({
    before: startedAt - options.undecidedAfterMs,
    after: cursor.id ?? '',
    limit: workflowsPerPage,
  });
  summary.undecided += orderIds.length;
  await Promise.all(
    orderIds.map((orderId) =>
      startUnlessRunning(workflowTypes.placeOrder, {
        workflowId: workflowIds.placeOrder(orderId),
        taskQueue: taskQueues.commerce,
        args: [{ orderId }],
        typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: orderId }],
      }),
    ),
  );
  return next === undefined ? undefined : { id: next };
}

async function auditUnhandled({ options, startedAt, cursor, summary }: Page) {
  const end = startedAt - options.unhandledAfterMs;
  const from = cursor.from ?? handledUntilLastTime() ?? end - reachMs;
  const before = Math.min(from + windowMs, end);
  const { eventIds, oldest, next } = await collector.findUnhandled({
    from,
    before,
    after: cursor.id ?? '',
    limit: workflowsPerPage,
  });
  summary.unhandled += eventIds.length;
  if (oldest !== undefined) summary.handledUntil = Math.min(summary.handledUntil, oldest);
  for (const eventId of eventIds) await handleAgain(eventId);
  if (next !== undefined) return { from, id: next };
  return before < end ? { from: before } : undefined;
}

async function auditOffsets(): Promise<undefined> {
  if (patched('note-progress')) await collector.noteProgress();
}

function handledUntilLastTime(): number | undefined {
  const last = workflowInfo().lastResult as DeliveryAuditSummary | undefined;
  return last?.handledUntil;
}

// One at a time: an event may weigh 256 KiB, and Temporal bounds what a single task may carry.
async function handleAgain(eventId: string): Promise<void> {
  const event = await collector.readLoggedEvent(eventId);
  await startUnlessRunning(workflowTypes.handleEvent, {
    workflowId: workflowIds.handleEvent(eventId),
    taskQueue: taskQueues.collector,
    args: [event],
    typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: event.key }],
  });
}

/** Starts a workflow that outlives this one, whatever has become of an earlier one of its ID. */
async function startUnlessRunning(
  workflowType: string,
  options: ChildWorkflowOptions & { readonly args: unknown[] },
): Promise<void> {
  try {
    await startChild(workflowType, {
      ...options,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}
