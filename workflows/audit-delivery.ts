/**
 * `auditDelivery`: checks end to end that every event has arrived and every order is decided, and
 * restarts what is overdue, so that delivery does not depend on acknowledgements. Run by a schedule.
 *
 * Its parts run one after the other, page by page. A failing part does not stop the others: the run
 * fails at its end, and the schedule's next run retries.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  continueAsNew,
  isCancellation,
  patched,
  proxyActivities,
  workflowInfo,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { createCollectorAuditActivities } from '../activities/collector/delivery-audit';
import type { createUnaccountedOffsetsActivities } from '../activities/collector/unaccounted-offsets';
import type { createVanishedOffsetsActivities } from '../activities/collector/vanished-offsets';
import type { createShopAuditActivities } from '../activities/commerce/delivery-audit';
import { workflowIds } from '../events/workflow-ids';
import { searchAttributes, taskQueues, workflowTypes } from '../events/workflow-names';
import { startNotification } from './collector/start-notification';
import { startUnlessRunning } from './start-unless-running';

/** Ages from which something is overdue, in ms. */
export interface DeliveryAuditOptions {
  /** Age of an unpublished event. */
  readonly unpublishedAfterMs: number;
  /** Age of an unconfirmed publication. */
  readonly unconfirmedAfterMs: number;
  /** Age of a log entry that is neither handled nor parked, and of a commit whose messages are not logged. */
  readonly unhandledAfterMs: number;
  /** Age of an undecided order, and of a promised cancellation. */
  readonly undecidedAfterMs: number;
}

/** Findings of an audit. All but `confirmed` and `handledUntil` are 0 in a healthy system. */
export interface DeliveryAuditSummary {
  /** Unpublished events, including those found before; now being published. */
  readonly unpublished: number;
  /** Published events that were lost, and were published again. */
  readonly republished: number;
  /** Published events that have arrived, or were discarded by an operator. */
  readonly confirmed: number;
  /** Undecided orders, and promised cancellations that were not carried out; now being resumed. */
  readonly undecided: number;
  /** The last of them, where there are more: the next run resumes those after it, also if this one fails. */
  readonly undecidedAfter?: string;
  /** Logged events that were neither handled nor parked; now being handled. */
  readonly unhandled: number;
  /** Messages below the committed offsets that were neither logged nor parked; now being read again. */
  readonly unaccounted: number;
  /** Overdue notifications that no workflow was delivering; now being delivered. */
  readonly undelivered: number;
  /** Every event logged before is handled or parked, in ms since the epoch: the next run starts here. */
  readonly handledUntil: number;
}

/** Progress of a run that continues as new. */
export interface DeliveryAuditProgress {
  /** When the audit began, in ms since the epoch: the next one checks what is younger. */
  readonly startedAt: number;
  /** Index of the current part. */
  readonly part: number;
  /** Cursor within that part; absent for its first page. */
  readonly cursor?: Cursor;
  readonly summary: Summary;
  /** Failed parts, and why. */
  readonly failures: readonly string[];
}

type ShopActivities = ReturnType<typeof createShopAuditActivities>;
type CollectorActivities = ReturnType<typeof createCollectorAuditActivities> &
  ReturnType<typeof createUnaccountedOffsetsActivities> &
  Pick<ReturnType<typeof createVanishedOffsetsActivities>, 'noteProgress'>;

/** Every activity that the audit calls itself, so that tests must fake all of them. */
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
    type: incomplete,
    message: `The audit is incomplete; the next run retries. ${failures.join('; ')}`,
    nonRetryable: true,
    details: [summary],
  });
}

/** The `type` of the failure of a run with failed parts; its details are the summary. */
const incomplete = 'AUDIT_INCOMPLETE';

// Limited retries: the schedule retries without end.
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

/** Each item of these pages gets a workflow, or shares a small one. */
const workflowsPerPage = 100;

/** How far back the first audit looks for events that were not handled; later ones begin where it ended. */
const reachMs = 7 * 24 * 3_600_000;

/** Limits what one query for unhandled events scans. */
const windowMs = 24 * 3_600_000;

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };
type Summary = Mutable<DeliveryAuditSummary>;

/** Cursor of a part: an outbox sequence, an ID, or an ID with a name or within a time window. */
interface Cursor {
  readonly sequence?: number;
  readonly id?: string;
  readonly name?: string;
  readonly from?: number;
}

interface Page {
  readonly options: DeliveryAuditOptions;
  readonly startedAt: number;
  readonly cursor: Cursor;
  /** Accumulated findings. */
  readonly summary: Summary;
}

/** A part of the audit: processes a page, and returns the cursor of the next one, if any. */
type Part = (page: Page) => Promise<Cursor | undefined>;

const parts: readonly { readonly name: string; readonly audit: Part }[] = [
  { name: 'unpublished events', audit: auditUnpublished },
  { name: 'unconfirmed events', audit: auditUnconfirmed },
  { name: 'undecided orders', audit: auditUndecided },
  { name: 'unhandled events', audit: auditUnhandled },
  { name: 'vanished offsets', audit: auditOffsets },
  { name: 'undelivered notifications', audit: auditNotifications },
];

const nothing = {
  unpublished: 0,
  republished: 0,
  confirmed: 0,
  undecided: 0,
  unhandled: 0,
  unaccounted: 0,
  undelivered: 0,
};

function begin({ unhandledAfterMs }: DeliveryAuditOptions): DeliveryAuditProgress {
  const startedAt = Date.now();
  const handledUntil = startedAt - unhandledAfterMs;
  const summary: Summary = { ...nothing, handledUntil };
  const undecidedAfter = lastUndecidedAfter();
  if (undecidedAfter !== undefined) summary.undecidedAfter = undecidedAfter;
  return { startedAt, part: 0, summary, failures: [] };
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
  const {
    orderIds,
    cancellations = {},
    next,
  } = await shop.findUndecided({
    before: startedAt - options.undecidedAfterMs,
    after: cursor.id ?? summary.undecidedAfter ?? '',
    limit: workflowsPerPage,
  });
  summary.undecided += orderIds.length;
  await Promise.all(
    orderIds.map((orderId) =>
      startUnlessRunning(workflowTypes.placeOrder, {
        workflowId: workflowIds.placeOrder(orderId),
        taskQueue: taskQueues.commerce,
        args: [{ orderId, cancellation: cancellations[orderId] }],
        typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: orderId }],
      }),
    ),
  );
  delete summary.undecidedAfter;
  if (next === undefined) return undefined;
  // While the gateway is away all orders are undecided, and nearly all have a workflow that waits. To
  // resume each of them every minute would be the greatest load of all.
  if (!patched('undecided-in-turns')) return { id: next };
  summary.undecidedAfter = next;
  return undefined;
}

async function auditUnhandled({ options, startedAt, cursor, summary }: Page) {
  const end = startedAt - options.unhandledAfterMs;
  const from = cursor.from ?? lastSummary()?.handledUntil ?? end - reachMs;
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

async function auditOffsets({ options, startedAt, summary }: Page) {
  if (!patched('note-progress')) return undefined;
  await collector.noteProgress();
  if (!patched('unaccounted-offsets')) return undefined;
  const before = startedAt - options.unhandledAfterMs;
  summary.unaccounted = await collector.accountForOffsets({ before });
  return undefined;
}

async function auditNotifications({ options, startedAt, cursor, summary }: Page) {
  if (!patched('undelivered-notifications')) return undefined;
  const { abandoned, next } = await collector.findUndelivered({
    before: startedAt - options.unhandledAfterMs,
    after: { eventId: cursor.id ?? '', name: cursor.name ?? '' },
    limit: workflowsPerPage,
  });
  // A run that an earlier version began has no such sum.
  summary.undelivered = (summary.undelivered ?? 0) + abandoned.length;
  for (const { name, eventId } of abandoned) {
    await startNotification(name, await collector.readLoggedEvent(eventId));
  }
  return next === undefined ? undefined : { id: next.eventId, name: next.name };
}

/** Of the last run that succeeded; runs after it may have failed. */
function lastSummary(): DeliveryAuditSummary | undefined {
  return workflowInfo().lastResult as DeliveryAuditSummary | undefined;
}

/**
 * Where the turns at undecided orders have got to, also in a run that was incomplete: a part that fails in
 * each run would otherwise have each begin with the same hundred. Nothing else is taken from such a run: its
 * `handledUntil` does not tell whether all before that was looked at.
 */
function lastUndecidedAfter(): string | undefined {
  const { lastFailure } = workflowInfo();
  if (!(lastFailure instanceof ApplicationFailure && lastFailure.type === incomplete)) {
    return lastSummary()?.undecidedAfter;
  }
  const [summary] = lastFailure.details as [DeliveryAuditSummary];
  return summary.undecidedAfter;
}

// One at a time: an event may have 256 KiB, and Temporal limits the size of a task.
async function handleAgain(eventId: string): Promise<void> {
  const event = await collector.readLoggedEvent(eventId);
  await startUnlessRunning(workflowTypes.handleEvent, {
    workflowId: workflowIds.handleEvent(eventId),
    taskQueue: taskQueues.collector,
    args: [event],
    typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: event.key }],
  });
}
