/**
 * What waits for a day must neither give up nor grow. Temporal's time-skipping server lets the day
 * pass within about a minute; what the workflow waits for is made up, everything else is real.
 */
import type { Event } from '../../events/envelope';
import { taskQueues, workflowIds, workflowTypes } from '../../workflows/names';
import { exampleEvent } from '../events/examples';
import { createEnvironment, outageOf, type Environment } from '../workflows/environment';

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
