/**
 * What waits for a day must neither give up nor grow. Temporal's time-skipping server lets the day
 * pass within about a minute; what the workflow waits for is made up, everything else is real.
 */
import type { UnpublishedPage } from '../../activities/commerce/delivery-audit';
import type { Aggregate, createPublishActivities } from '../../activities/commerce/publish';
import type { Event } from '../../events/envelope';
import type { AuditActivities, DeliveryAuditOptions } from '../../workflows/audit-delivery';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { exampleEvent } from '../../testkit/example-events';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

type PublishActivities = ReturnType<typeof createPublishActivities>;

/** Something that takes a day. */
export interface LongLived {
  readonly name: string;
  /** What happens, for the report. */
  readonly strikes: string;
  /** Lets the day pass. @returns what has been seen, and what is wrong with it */
  pass(): Promise<{ readonly seen: string; readonly problems: readonly string[] }>;
}

const dayMs = 24 * 3_600_000;

/** A history has a few events for each step, and none for a try. */
const greatestHistory = 30;

/** Everything that takes a day. */
export const longLived: readonly LongLived[] = [
  {
    name: 'day-without-database',
    strikes:
      'the collector’s database is away for 24 hours of skipped time while an event is handled',
    pass: () => inEnvironment(handleAfterADay),
  },
  {
    name: 'day-of-audits',
    strikes:
      'the delivery audit runs every five minutes for 24 hours of skipped time, and an event is left behind at noon',
    pass: () => inEnvironment(auditForADay),
  },
];

async function handleAfterADay(environment: Environment) {
  const database = await outageOf(environment, dayMs);
  const done: string[] = [];
  const activities = {
    async writeAuditLog() {
      await database.fail();
      done.push('logged');
    },
    updateMetrics: () => Promise.resolve(void done.push('counted')),
    evictCache: () => Promise.resolve(void done.push('evicted')),
  };
  const event = exampleEvent('StockAdjusted', { id: 'handled-a-day-later' }) as unknown as Event;
  return environment.withWorker(taskQueues.collector, activities, async () => {
    const handle = await environment.client.workflow.start(workflowTypes.handleEvent, {
      workflowId: workflowIds.handleEvent(event.id),
      taskQueue: taskQueues.collector,
      args: [receivedAsMessage(event)],
    });
    await handle.result();
    const { historyLength } = await handle.describe();
    const tries = database.tries();
    const problems: string[] = [];
    if (done.toSorted().join() !== 'counted,evicted,logged') problems.push(`done: ${done.join()}`);
    if (historyLength > greatestHistory) problems.push(`a history of ${historyLength} events`);
    return { seen: `${tries} tries, a history of ${historyLength} events`, problems };
  });
}

/** The time-skipping server has no schedules; a cron runs the workflow just so, result handed on. */
async function auditForADay(environment: Environment) {
  const startsAt = await environment.currentTimeMs();
  const noon = startsAt + dayMs / 2;
  const windows: { readonly from: number; readonly before: number }[] = [];
  let published = 0;
  const activities: AuditActivities & Pick<PublishActivities, 'publishOutbox'> = {
    async findUnpublished(): Promise<UnpublishedPage> {
      const isLeftBehind = published === 0 && (await environment.currentTimeMs()) > noon;
      if (!isLeftBehind) return { aggregates: [], events: 0 };
      const leftBehind: Aggregate = { topic: 'catalog-events', key: 'left-behind' };
      return { firstEventId: 'left-behind-at-noon', aggregates: [leftBehind], events: 1 };
    },
    publishOutbox: () => Promise.resolve(void (published += 1)),
    findUnconfirmed: () => Promise.resolve({ publications: [] }),
    findUndecided: () => Promise.resolve({ orderIds: [] }),
    findUnhandled({ from, before }) {
      windows.push({ from, before });
      return Promise.resolve({ eventIds: [] });
    },
    noteProgress: () => Promise.resolve(0),
    accountForOffsets: () => Promise.resolve(0),
    findUndelivered: () => Promise.resolve({ abandoned: [] }),
    markDelivered: unexpected,
    sendAgain: unexpected,
    lookUpArrivals: unexpected,
    readLoggedEvent: unexpected,
  };
  return environment.withWorker(taskQueues.commerce, activities, () =>
    environment.withWorker(taskQueues.collector, activities, async () => {
      const audit = await environment.client.workflow.start(workflowTypes.auditDelivery, {
        workflowId: 'audit-for-a-day',
        taskQueue: taskQueues.commerce,
        cronSchedule: '*/5 * * * *',
        args: [auditOptions],
      });
      await environment.sleep(dayMs);
      await audit.terminate();
      const first = environment.client.workflow.getHandle(
        'audit-for-a-day',
        audit.firstExecutionRunId,
      );
      const { historyLength } = await first.describe();
      return judgeAudits(windows, published, historyLength);
    }),
  );
}

/** Nothing of the day comes to this. */
const unexpected = (): Promise<never> => Promise.reject(new Error('not part of this day'));

const minuteMs = 60_000;
const auditOptions: DeliveryAuditOptions = {
  unpublishedAfterMs: 5 * minuteMs,
  unconfirmedAfterMs: minuteMs,
  unhandledAfterMs: 10 * minuteMs,
  undecidedAfterMs: 10 * minuteMs,
};

/** The first run looks at each day of a week, of which each costs a step. */
const greatestAuditHistory = 100;

/** The first run reaches back for days; from then on each must begin where the last one ended. */
const fewestAudits = 280;

function judgeAudits(
  windows: readonly { readonly from: number; readonly before: number }[],
  published: number,
  historyLength: number,
) {
  const gaps = windows.filter(
    ({ from }, index) => index > 0 && from !== windows[index - 1]!.before,
  );
  const problems: string[] = [];
  if (windows.length < fewestAudits) problems.push(`only ${windows.length} looks at the log`);
  if (gaps.length > 0) problems.push(`${gaps.length} looks do not begin where the last one ended`);
  if (published !== 1) problems.push(`what was left behind was published ${published} times`);
  if (historyLength > greatestAuditHistory) problems.push(`a history of ${historyLength} events`);
  const seen = `${windows.length} looks at the log without a gap, one publication, a history of ${historyLength} events`;
  return { seen, problems };
}

function receivedAsMessage(event: Event) {
  return {
    topic: 'catalog-events',
    partition: 0,
    offset: 1,
    eventId: event.id,
    key: event.subject,
    value: JSON.stringify(event),
    headers: [],
    producedAt: Date.now(),
  };
}

async function inEnvironment<T>(work: (environment: Environment) => Promise<T>): Promise<T> {
  const environment = await createEnvironment();
  try {
    return await work(environment);
  } finally {
    await environment.stop();
  }
}
