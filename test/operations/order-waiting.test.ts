import { waitingOf, type KnownOfOrder } from '../../operations/order-waiting';
import type { OrderWorkflow, WorkflowActivity } from '../../operations/order-workflow';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

const since = '2026-11-28T10:00:00.000Z';

function activity(name: string, more: Partial<WorkflowActivity> = {}): WorkflowActivity {
  return {
    activity: name,
    state: 'retrying',
    attempts: 4,
    scheduledAt: since,
    endedAt: null,
    nextAttemptAt: null,
    error: 'away',
    errorType: null,
    ...more,
  };
}

function running(...activities: WorkflowActivity[]): OrderWorkflow {
  return { status: 'RUNNING', userId: 'ann', startedAt: since, queuedSince: null, activities };
}

function placed(workflow: KnownOfOrder['workflow']): KnownOfOrder {
  return { status: 'PLACED', unpublishedSince: since, workflow };
}

const confirmed = (more: Partial<KnownOfOrder>): KnownOfOrder => ({
  status: 'CONFIRMED',
  unpublishedSince: null,
  workflow: { ...running(), status: 'COMPLETED' },
  ...more,
});

describe('an order waits for', () => {
  test.each<[what: string, waitsFor: string, known: KnownOfOrder, runbook: string]>([
    [
      'the gateway, to charge',
      'gateway',
      placed(running(activity('chargeOrder'))),
      'paymentgatewayfailing',
    ],
    [
      'the gateway, to refund',
      'gateway',
      placed(running(activity('voidPayment'))),
      'paymentgatewayfailing',
    ],
    [
      'a payment in progress',
      'gateway',
      placed(running(activity('voidPayment', { errorType: 'PaymentInProgressError' }))),
      'paymentinprogressforlong',
    ],
    ['PostgreSQL', 'database', placed(running(activity('confirmOrder'))), 'ordersundecided'],
    [
      'PostgreSQL, before it is stored',
      'database',
      { ...placed(running(activity('reserveStock'))), status: null },
      'ordersundecided',
    ],
    [
      'Kafka, for its events',
      'outbox',
      confirmed({ unpublishedSince: since, workflow: running(activity('publishOutbox')) }),
      'outboxnotpublished',
    ],
    [
      'a refund, while its events are published',
      'gateway',
      confirmed({ workflow: running(activity('publishOutbox'), activity('voidPayment')) }),
      'paymentgatewayfailing',
    ],
    [
      'a worker of a queue',
      'worker',
      placed(running(activity('voidPayment', { state: 'queued', attempts: 0 }))),
      'ordersundecided',
    ],
    [
      'a worker of the workflow',
      'worker',
      placed({ ...running(), queuedSince: since }),
      'ordersundecided',
    ],
    ['the worker that has the workflow', 'worker', placed(running()), 'ordersundecided'],
    ['the audit, where no workflow runs', 'audit', placed(null), 'auditfindings'],
    [
      'the audit, where the workflow was terminated',
      'audit',
      placed({ ...running(), status: 'TERMINATED' }),
      'auditfindings',
    ],
    [
      'the audit, to publish',
      'audit',
      confirmed({ unpublishedSince: since, workflow: null }),
      'auditfindings',
    ],
    ['nobody knows what, without Temporal', 'unknown', placed(undefined), 'requestsfailing'],
  ])('%s', async (_what, waitsFor, known, anchor) => {
    const waiting = waitingOf(known);
    expect(waiting).toMatchObject({ for: waitsFor, runbook: `docs/runbook.md#${anchor}` });
    const runbook = await readFile(path.join(__dirname, '../../docs/runbook.md'), 'utf8');
    expect(runbook.toLowerCase()).toContain(`### ${anchor}\n`);
  });

  test.each<[what: string, known: KnownOfOrder]>([
    ['its workflow has ended', confirmed({})],
    ['Temporal is unavailable', confirmed({ workflow: undefined })],
    [
      'the workflow has yet to hear that they are',
      confirmed({ workflow: running(activity('publishOutbox', { state: 'running' })) }),
    ],
    [
      'what it gave up is still under way',
      confirmed({ workflow: running(activity('chargeOrder', { state: 'abandoned' })) }),
    ],
  ])('nothing, decided and with its events published, when %s', (_what, known) => {
    expect(waitingOf(known)).toBeNull();
  });
});

test('what it waits for comes with since when, how often it was tried, and the last error', () => {
  expect(waitingOf(placed(running(activity('voidPayment'))))).toMatchObject({
    since,
    attempts: 4,
    lastError: 'away',
    what: 'voidPayment: the payment gateway has not answered.',
  });
});

test('the worker that is missing is told by its task queue', () => {
  const queued = activity('chargeOrder', { state: 'queued' });
  expect(waitingOf(placed(running(queued)))?.advice).toContain('commerce-payments');
});

test('an order that a worker has in hand does not ask for another worker', () => {
  const waiting = waitingOf(placed(running()));
  expect(waiting).toMatchObject({ since: null, what: 'A worker is carrying the workflow on.' });
  expect(waiting?.advice).not.toContain('start a worker');
});
