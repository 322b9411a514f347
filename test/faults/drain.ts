/** Waits until a pipeline is idle, and judges how long it took. */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { workflowTypes } from '../../events/workflow-names';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import type { Stack } from '../../testkit/stack';
import { namespaceOf } from './forgetting';

/** How a pipeline came to rest. */
export interface Recovery {
  /** From the revert of the fault until the pipeline was idle, in ms. */
  readonly tookMs: number;
  /** The most that was seen to be left: events to publish, to consume or to handle, orders to decide. */
  readonly backlog: number;
  /** How long it may take: 30 s and the backlog at the measured rate, in ms. */
  readonly boundMs: number;
}

/** What is waited for. */
export interface DrainOptions {
  /** Events per second that the pipeline can handle, as {@link measureRate} tells. */
  readonly rate: number;
  /** Whether clients are still waiting for answers: until they have them there is no rest. */
  isUnderLoad?(): boolean;
}

const pollMs = 200;
const graceMs = 30_000;

/** A pipeline that gets nothing done for so long will not recover. */
const stalledAfterMs = 60_000;

/**
 * Resolves when everything is published, consumed and handled. Its clock begins with the call.
 *
 * @throws when nothing gets done for a minute, saying what is left
 */
export async function drain(stack: Stack, { rate, isUnderLoad }: DrainOptions): Promise<Recovery> {
  const from = Date.now();
  let backlog = 0;
  let least = Infinity;
  let progressAt = from;
  for (; ; await sleep(pollMs)) {
    const isBusy = isUnderLoad?.() === true;
    // While a server is unavailable nothing can be counted: the error is thrown if it stays so.
    const left = await countLeft(stack).catch((error: unknown) => String(error));
    if (left === 0 && !isBusy) break;
    if (typeof left === 'number') {
      backlog = Math.max(backlog, left);
      if (left < least || isBusy) progressAt = Date.now();
      least = Math.min(least, left);
    }
    if (Date.now() - progressAt > stalledAfterMs) {
      const open = await listOpenWorkflows(stack).catch(String);
      throw new Error(
        `Nothing was done for ${stalledAfterMs / 1_000} s; left: ${left}; open workflows: ${open}`,
      );
    }
  }
  return { tookMs: Date.now() - from, backlog, boundMs: graceMs + (backlog / rate) * 1_000 };
}

/** Some of them, by type and ID. */
async function listOpenWorkflows(stack: Stack): Promise<string> {
  const { executions } = await stack.temporal.workflowService.listWorkflowExecutions({
    namespace: namespaceOf(stack),
    query: `ExecutionStatus = 'Running'`,
    pageSize: 20,
  });
  return executions
    .map(({ type, execution }) => `${type?.name} ${execution?.workflowId}`)
    .join(', ');
}

const samples = 400;

/** How many events the pipeline handles in a second, with nothing else to do. */
export async function measureRate(stack: Stack): Promise<number> {
  const messages = Array.from({ length: samples }, () => messageOf(viewed('measured')));
  await produce(stack.kafka, 'catalog-events', messages);
  const from = Date.now();
  // The rate that this is for is not known yet; any will do for waiting.
  await drain(stack, { rate: 1 });
  return (samples * 1_000) / (Date.now() - from);
}

/**
 * What is left, each thing counted once: messages that the bridge has not passed on, and beyond them
 * whatever is greater, what the database tells to be unfinished or what Temporal has open, since most
 * of either is the other.
 */
async function countLeft(stack: Stack): Promise<number> {
  const { kafka, config } = stack;
  // In the order in which they go on, or a view on its way would be seen nowhere.
  const spooled = await countSpooled(stack);
  const behind = totalLag(await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, eventTopics));
  return spooled + behind + Math.max(await countUnfinished(stack), await countOpenWorkflows(stack));
}

/** Files with views of the API. */
async function countSpooled({ config: { VIEW_SPOOL_DIR: directory } }: Stack): Promise<number> {
  if (!existsSync(directory)) return 0;
  const files = (await readdir(directory)).map((name) => stat(path.join(directory, name)));
  return (await Promise.all(files)).filter(({ size }) => size > 0).length;
}

async function countUnfinished({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ unfinished: number }>(`
    SELECT (SELECT count(*) FROM commerce.outbox WHERE published_at IS NULL)
      + (SELECT count(*) FROM commerce.orders WHERE status = 'PLACED')
      + (SELECT count(*) FROM collector.event_log WHERE NOT EXISTS (
          SELECT FROM collector.event_handled AS handled
          WHERE handled.event_id = event_log.event_id))
      + (SELECT count(*) FROM collector.notifications WHERE status = 'pending') AS unfinished`);
  return Number(rows[0]?.unfinished);
}

/** All but the audit's, which come and go for ever. */
async function countOpenWorkflows(stack: Stack): Promise<number> {
  const { count } = await stack.temporal.workflowService.countWorkflowExecutions({
    namespace: namespaceOf(stack),
    query: `ExecutionStatus = 'Running' AND WorkflowType != '${workflowTypes.auditDelivery}'`,
  });
  return Number(count);
}
