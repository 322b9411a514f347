/**
 * Products that are sold out are told to a real receiver over HTTP. It keeps the keys of what it has
 * taken: whatever happens, each of them is told once.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { createDeadLetterOperations } from '../../operations/dead-letters';
import { verify } from '../../operations/verification';
import {
  messageOf,
  produce,
  stockAdjusted,
  type ForeignEvent,
} from '../../testkit/foreign-producer';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { preloading } from '../faults/altered';
import { startWebhookReceiver, type WebhookReceiver } from '../../testkit/webhook-receiver';

const topic = 'catalog-events';
const secret = randomBytes(32);
const untilDelivered = { timeoutMs: 90_000 };
let stack: Stack;
let receiver: WebhookReceiver;

beforeAll(async () => {
  receiver = await startWebhookReceiver();
  stack = await createStack(['bridge', 'worker:collector'], {
    WEBHOOK_SOLD_OUT_URL: receiver.url,
    WEBHOOK_SECRET: `whsec_${secret.toString('base64')}`,
  });
});

afterAll(async () => {
  await stack?.stop();
  await receiver?.stop();
});

beforeEach(async () => {
  receiver.answer = () => 204;
  await receiver.comeBack();
});

const keyOf = ({ id }: ForeignEvent): string => `sold-out-${id}`;

function soldOut(count: number, name: string): ForeignEvent[] {
  return Array.from({ length: count }, (_, index) => stockAdjusted(`${name}-${index}`, 2, 0, 3));
}

async function send(events: readonly ForeignEvent[]): Promise<void> {
  await produce(stack.kafka, topic, events.map(messageOf));
}

async function statusesOf(events: readonly ForeignEvent[]): Promise<string[]> {
  const { rows } = await stack.pool.query<{ status: string }>(
    'SELECT status FROM collector.notifications WHERE event_id = ANY($1)',
    [events.map(({ id }) => id)],
  );
  return rows.map(({ status }) => status);
}

async function untilAllAre(status: string, events: readonly ForeignEvent[]): Promise<void> {
  await until(
    `all are ${status}`,
    async () => {
      const statuses = await statusesOf(events);
      return statuses.length === events.length && statuses.every((each) => each === status);
    },
    untilDelivered,
  );
}

async function untilHandled(events: readonly ForeignEvent[]): Promise<void> {
  const ids = events.map(({ id }) => id);
  await until('all are handled', async () => {
    const { rowCount } = await stack.pool.query(
      'SELECT FROM collector.event_handled WHERE event_id = ANY($1)',
      [ids],
    );
    return rowCount === ids.length;
  });
}

async function killAndRestart(name: ProcessName): Promise<void> {
  await Promise.all(stack.running(name).map((each) => each.end('SIGKILL')));
  await stack.start(name);
}

test('a product that is sold out is told, signed, and one that is not is not', async () => {
  const [event] = soldOut(1, 'told');
  const others = [
    stockAdjusted('few-left', 2, 1, 3),
    stockAdjusted('sold-out-already', 3, 0, 0),
    stockAdjusted('back-again', 3, 4, 0),
  ];
  await send([...others, event!]);
  await untilHandled([...others, event!]);
  await untilAllAre('delivered', [event!]);

  const { body, headers } = receiver.taken.get(keyOf(event!))!;
  expect(JSON.parse(body)).toEqual({
    type: 'product.sold-out',
    timestamp: event!['time'],
    data: { eventId: event!.id, productId: 'told-0', stockVersion: 2 },
  });
  const id = headers['webhook-id'] as string;
  const timestamp = headers['webhook-timestamp'] as string;
  expect(id).toBe(keyOf(event!));
  const mac = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64');
  expect(headers['webhook-signature']).toBe(`v1,${mac}`);
  expect(await statusesOf(others)).toEqual([]);
});

test('each is told once, though the receiver is away, then overloaded, workers are killed and events come again', async () => {
  const events = soldOut(20, 'through-thick-and-thin');
  await receiver.leave();
  await send(events);
  // Nothing of it holds up the events themselves.
  await untilHandled(events);
  await killAndRestart('worker:collector');
  await send(events);

  const failures = new Map<string, number>();
  receiver.answer = ({ key }) => {
    const count = (failures.get(key) ?? 0) + 1;
    failures.set(key, count);
    return count <= 2 ? 503 : 204;
  };
  await receiver.comeBack();
  await until('half of them are told', () => receiver.taken.size >= 10, untilDelivered);
  await killAndRestart('worker:collector');
  await killAndRestart('bridge');
  await send(events);
  await untilAllAre('delivered', events);

  const keys = events.map(keyOf);
  expect(keys.filter((key) => !receiver.taken.has(key))).toEqual([]);
  const bodies = receiver.requests.filter(({ key }) => keys.includes(key));
  for (const { key, body } of bodies) expect(body).toBe(receiver.taken.get(key)!.body);
});

test('a worker that dies between recording and delivering leaves nothing untold', async () => {
  const events = soldOut(3, 'half-done');
  await Promise.all(stack.running('worker:collector').map((each) => each.end()));
  const doomed = await stack.launch('worker:collector', {
    ...preloading('breakpoint'),
    FAULT_BREAKPOINT: 'after:metrics-update',
  });
  await send(events);
  await until('it is dead', () => !stack.running('worker:collector').includes(doomed));
  expect(await doomed.end()).toBe(null);
  await stack.start('worker:collector');
  await untilAllAre('delivered', events);
});

test('what is delivered is not sent again, whoever starts its delivery', async () => {
  const [event] = soldOut(1, 'once');
  await send([event!]);
  await untilAllAre('delivered', [event!]);
  const workflowId = workflowIds.notify('sold-out', event!.id);
  await stack.temporal.workflow.getHandle(workflowId).result();
  await stack.temporal.workflow.execute(workflowTypes.notify, {
    workflowId,
    taskQueue: taskQueues.collector,
    args: ['sold-out', { value: JSON.stringify(event) }],
  });
  expect(receiver.requests.filter(({ key }) => key === keyOf(event!))).toHaveLength(1);
});

test('what the receiver refuses is a dead letter, and its redrive delivers it', async () => {
  const [event] = soldOut(1, 'refused');
  receiver.answer = () => 400;
  await send([event!]);
  await untilAllAre('refused', [event!]);
  const operations = createDeadLetterOperations({ database: stack.pool, temporal: stack.temporal });
  const parked = () =>
    until('it is parked', async () => {
      const { deadLetters } = await operations.list(
        { reason: 'NOTIFICATION_REFUSED', status: 'parked' },
        { limit: 10 },
      );
      return deadLetters.find(({ eventId }) => eventId === event!.id);
    });
  const first = await parked();
  expect(first.detail).toBe('The receiver answered 400: answered 400 by the test');

  // Refused again, it is parked again.
  await operations.redrive(first.id, { by: 'test', again: false });
  const second = await parked();
  expect(second.id).not.toBe(first.id);

  receiver.answer = () => 204;
  await operations.redrive(second.id, { by: 'test', again: false });
  await untilAllAre('delivered', [event!]);
  expect(receiver.taken.has(keyOf(event!))).toBe(true);
});

test('a notification whose workflow is gone is delivered by the next audit', async () => {
  const [event] = soldOut(1, 'forgotten');
  await receiver.leave();
  await send([event!]);
  await untilHandled([event!]);
  const delivery = stack.temporal.workflow.getHandle(workflowIds.notify('sold-out', event!.id));
  await until('its workflow runs', () => delivery.describe());
  await delivery.terminate();
  await receiver.comeBack();
  const auditor = await stack.start('worker:commerce', {
    AUDIT_INTERVAL_MS: '1000',
    AUDIT_UNHANDLED_AFTER_MS: '0',
  });
  await untilAllAre('delivered', [event!]);
  await auditor.end();
});

test('verify tells what is neither delivered nor parked', async () => {
  const [event] = soldOut(1, 'verified');
  await receiver.leave();
  await send([event!]);
  await untilHandled([event!]);
  const look = async (graceSeconds: number) => {
    const { kafka, pool, config } = stack;
    const report = await verify({ kafka, pool, groupId: config.BRIDGE_GROUP_ID }, { graceSeconds });
    return report.checks.find(({ name }) => name === 'notifications')!;
  };
  expect(await look(0)).toMatchObject({ holds: false, differences: [{ event_id: event!.id }] });
  expect(await look(900)).toMatchObject({ holds: true });
  await receiver.comeBack();
  await untilAllAre('delivered', [event!]);
  expect(await look(0)).toMatchObject({ holds: true });
});

test('a worker that stops while its receiver does not answer stops in time, and another one delivers', async () => {
  const [event] = soldOut(1, 'handed-over');
  const [worker] = stack.running('worker:collector');
  let asked = 0;
  receiver.answer = () => {
    asked += 1;
    return undefined;
  };
  await send([event!]);
  await until('it was asked', () => asked > 0);
  expect(await worker!.end()).toBe(0);
  receiver.answer = () => 204;
  await stack.start('worker:collector');
  await untilAllAre('delivered', [event!]);
});

test.each([
  ['bridge and worker in one process', {}],
  // Last: this namespace has no work for workers without a version afterwards.
  ['workers with versions', { TEMPORAL_DEPLOYMENT_NAME: 'shop' }],
])('%s tell it, too', async (_, environment) => {
  const running = (['bridge', 'worker:collector'] as const).flatMap((name) => stack.running(name));
  await Promise.all(running.map((each) => each.end()));
  const collector = await stack.start('collector', environment);
  const events = soldOut(5, 'in-one-process');
  await send(events);
  await untilAllAre('delivered', events);
  expect(await collector.end()).toBe(0);
});
