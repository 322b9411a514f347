import type { Client } from '@temporalio/client';
import { planWorkflow } from '../../bridge/workflow-plan';
import { createWorkflowStarter } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/observability/logger';
import { bridgePaused } from '../../platform/observability/telemetry';
import { viewed } from '../../testkit/foreign-producer';
import { until } from '../../testkit/until';
import { carrying, received } from '../../testkit/records';

const logger = createLogger('test', 'silent');

async function isPaused(): Promise<boolean> {
  const { values } = await bridgePaused.get();
  return values.some(({ labels, value }) => labels.reason === 'temporal-away' && value === 1);
}

function plan() {
  return planWorkflow(received(carrying(viewed('product-1'))));
}

/** A client of a Temporal that can be away. */
function fakeClient() {
  const temporal = { away: true, starts: 0 };
  const start = async (): Promise<void> => {
    temporal.starts += 1;
    if (temporal.away) throw new Error('connection refused');
  };
  return { temporal, client: { workflow: { start } } as unknown as Client };
}

test('while Temporal is unavailable a start is retried and the bridge is paused', async () => {
  const { temporal, client } = fakeClient();
  const starter = createWorkflowStarter({ client, logger });
  expect(await isPaused()).toBe(false);
  const started = starter.start(plan(), new AbortController().signal);
  await until('it is paused', isPaused);
  await until('it is tried again', () => temporal.starts > 1);
  expect(await isPaused()).toBe(true);
  temporal.away = false;
  expect(await started).toBe(true);
  expect(await isPaused()).toBe(false);
});

test('a start that is aborted while Temporal is unavailable ends, and no longer pauses the bridge', async () => {
  const { client } = fakeClient();
  const stop = new AbortController();
  const started = createWorkflowStarter({ client, logger }).start(plan(), stop.signal);
  await until('it is paused', isPaused);
  stop.abort();
  await expect(started).rejects.toThrow('abort');
  expect(await isPaused()).toBe(false);
});
