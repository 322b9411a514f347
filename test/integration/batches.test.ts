/** A batch with events in it that the database can never take: they are parked, the others have their effects. */
import { WorkflowFailedError } from '@temporalio/client';
import { deriveBatchUuid } from '../../bridge/batch-uuid';
import type { ReceivedEvent } from '../../events/received';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';

const topic = 'catalog-events';
const size = 100;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['worker:collector']);
});

afterAll(() => stack?.stop());

async function idsIn(table: 'event_log' | 'event_handled' | 'dead_letters'): Promise<string[]> {
  const { rows } = await stack.pool.query<{ event_id: string }>(
    `SELECT event_id FROM collector.${table}`,
  );
  return rows.map(({ event_id }) => event_id).sort();
}

describe.each([
  ['the log', 'event_log', 0],
  ['the metrics', 'product_user_metrics', 1_000],
] as const)('a batch of which %s refuses three events', (_, refusing, firstOffset) => {
  const userOf = (index: number): string => ([0, 41, 99].includes(index) ? 'refused' : 'welcome');
  const events = Array.from({ length: size }, (_each, index): ReceivedEvent => {
    const event = viewed(`of-${refusing}`, userOf(index));
    return {
      topic,
      partition: 3,
      offset: firstOffset + index,
      eventId: event.id,
      key: event.subject,
      value: JSON.stringify(event),
      headers: [],
      producedAt: Date.now(),
    };
  });
  const workflowId = workflowIds.handleEventBatch(deriveBatchUuid(events));
  const idsOf = (user: string): string[] =>
    events.filter((_each, index) => userOf(index) === user).map(({ eventId }) => eventId);

  beforeAll(async () => {
    const user =
      refusing === 'event_log' ? "coalesce(payload #>> '{data,userId}', '')" : 'user_id::text';
    await stack.pool.query(
      `ALTER TABLE collector.${refusing} ADD CONSTRAINT welcome CHECK (${user} <> 'refused')`,
    );
  });

  afterAll(() => stack.pool.query(`ALTER TABLE collector.${refusing} DROP CONSTRAINT welcome`));

  const handle = async (): Promise<unknown> => {
    const handled = stack.temporal.workflow.execute(workflowTypes.handleEventBatch, {
      workflowId,
      taskQueue: taskQueues.collector,
      args: [events],
    });
    return handled.catch((error: unknown) => error);
  };

  test('parks exactly these, gives the others their effects once, and fails', async () => {
    const failure = await handle();
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    expect((failure as WorkflowFailedError).cause).toMatchObject({ type: 'EVENT_PARKED' });

    expect(await idsIn('event_handled')).toEqual(expect.arrayContaining(idsOf('welcome')));
    expect(await idsIn('dead_letters')).toEqual(expect.arrayContaining(idsOf('refused')));
    const { rows } = await stack.pool.query(
      'SELECT view_count FROM collector.product_metrics WHERE product_id = $1',
      [`of-${refusing}`],
    );
    expect(rows).toEqual([{ view_count: size - 3 }]);
    const { rows: byWorkflow } = await stack.pool.query(
      'SELECT event_id FROM collector.event_handled WHERE workflow_id = $1',
      [workflowId],
    );
    expect(byWorkflow).toHaveLength(size - 3);
  });

  test('does so once, however often it runs', async () => {
    const before = await Promise.all([idsIn('event_handled'), idsIn('dead_letters')]);
    await handle();
    expect(await Promise.all([idsIn('event_handled'), idsIn('dead_letters')])).toEqual(before);
    const { rows } = await stack.pool.query(
      'SELECT view_count FROM collector.product_metrics WHERE product_id = $1',
      [`of-${refusing}`],
    );
    expect(rows).toEqual([{ view_count: size - 3 }]);
  });
});
