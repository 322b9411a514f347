/** What the descriptions of the API and of the events show, tried on a whole pipeline. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { exampleServer } from '../../api/openapi/examples';
import { eventTypes } from '../../events/schemas';
import { deadLetterTopicOf, eventTopics } from '../../events/topics';
import { createStack, type Stack } from '../../testkit/stack';
import { readTopic } from '../../testkit/topic-reader';
import { until } from '../../testkit/until';

interface Operation {
  readonly description: string;
  readonly responses: Readonly<Record<string, object>>;
}

let stack: Stack;
let operations: [name: string, Operation][];

beforeAll(async () => {
  stack = await createStack(['api', 'bridge', 'worker:commerce', 'worker:collector']);
  const { body } = await stack.call('GET', '/openapi.json');
  operations = Object.entries(body.paths as Record<string, Record<string, Operation>>).flatMap(
    ([url, item]) =>
      Object.entries(item).map(([method, operation]): [string, Operation] => [
        `${method.toUpperCase()} ${url}`,
        operation,
      ]),
  );
}, 90_000);

afterAll(() => stack?.stop());

/** What `npm start` prints, for pasting. */
async function tellStory(): Promise<void> {
  const body = { name: 'Copper kettle', price: 4_900, stock: 3 };
  const { productId } = (await stack.call('POST', '/v1/products', { body })).body;
  const adjustment = { delta: 1, reason: 'restock' };
  await stack.call('POST', `/v1/products/${productId}/stock-adjustments`, { body: adjustment });
  await until('the product is counted', async () => {
    const { rowCount } = await stack.pool.query('SELECT FROM collector.product_metrics');
    return rowCount === 1;
  });
}

async function parkDeadLetter(): Promise<void> {
  const parked = async () => {
    const answer = await stack.call('GET', '/v1/dead-letters?status=parked');
    return (answer.body.items as unknown[]).length > 0;
  };
  if (await parked()) return;
  await stack.call('POST', '/v1/demonstration/poison', { body: {} });
  await until('the poison is parked', parked);
}

/** What a shell prints that an example was pasted into. */
async function paste(script: string): Promise<string> {
  const local = script.replaceAll(exampleServer, stack.apiUrl());
  try {
    return (await promisify(execFile)('sh', ['-c', local])).stdout;
  } catch (error) {
    // Ending a stream is a failure to curl.
    const { stdout, code } = error as { stdout?: string; code?: unknown };
    if (code === 28 && stdout !== undefined) return stdout;
    throw error;
  }
}

test('every example does what it shows when it is pasted', async () => {
  await tellStory();
  for (const [name, { description, responses }] of operations) {
    const script = /```sh\n(.*?)\n```/s.exec(description)?.[1] ?? '';
    if (script.includes('DEAD_LETTER')) await parkDeadLetter();
    const output = await paste(script);
    const status = /^HTTP\/1\.1 (\d{3})/m.exec(output)?.[1] ?? output;
    const promised = Object.keys(responses).filter((each) => each.startsWith('2'));
    expect([name, promised]).toEqual([name, expect.arrayContaining([status])]);
  }
}, 180_000);

test('every kind of message that the pipeline sends is as it is described', async () => {
  const { productId } = (
    await stack.call('POST', '/v1/products', { body: { name: 'Mug', price: 900, stock: 5 } })
  ).body;
  const ann = { as: 'shopper', userId: 'ann' } as const;
  await stack.call('GET', `/v1/products/${productId}`, ann);
  await stack.call('PUT', `/v1/products/${productId}/like`, ann);
  for (const [paymentToken, status] of [
    ['tok_approve', 201],
    ['tok_decline', 402],
  ] as const) {
    const body = { items: [{ productId, quantity: 1 }], paymentToken };
    expect((await stack.call('POST', '/v1/orders', { ...ann, body })).status).toBe(status);
  }
  await parkDeadLetter();

  const types = [...eventTypes];
  await until('a message of every type is there', async () => {
    const { rows } = await stack.pool.query<{ type: string }>(
      'SELECT DISTINCT type FROM collector.event_log ORDER BY type',
    );
    return types.every((type) => rows.some((row) => row.type === type));
  });
  const dead = deadLetterTopicOf('catalog-events');
  await until('the copy is there', async () => (await readTopic(stack.kafka, dead)).length > 0);
  // Reading them holds each to its description.
  const messages = await Promise.all(eventTopics.map((topic) => readTopic(stack.kafka, topic)));
  const sent = messages.flat().map(({ headers }) => String(headers['ce_type']));
  expect([...new Set(sent)].sort()).toEqual(expect.arrayContaining(types));
}, 120_000);
