/**
 * 'At most once' is said of effects, not of reading: a consumer that commits before the work loses
 * what it had read when it is killed. Both kinds are killed here at the same moment, between reading
 * and Temporal's acknowledgement, and started again.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const events = Array.from({ length: 40 }, (_, index) => viewed(`product-${index}`));
let stack: Stack;
let silence: SilentServer;

beforeAll(async () => {
  stack = await createStack(['worker:collector']);
  silence = await listenInSilence();
  await produce(stack.kafka, topic, events.map(messageOf));
});

afterAll(async () => {
  await silence?.close();
  await stack?.stop();
});

/** A Temporal that takes connections and requests, and never answers one. */
interface SilentServer {
  readonly address: string;
  /** How often it was called since the last look. */
  calls(): number;
  close(): Promise<void>;
}

async function listenInSilence(): Promise<SilentServer> {
  const sockets = new Set<net.Socket>();
  let calls = 0;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.once('data', () => (calls += 1)).on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    calls() {
      const since = calls;
      calls = 0;
      return since;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function uncommitted(groupId: string): Promise<number> {
  return totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics));
}

async function countOf(table: 'event_log' | 'event_handled'): Promise<number> {
  const { rowCount } = await stack.pool.query(
    `SELECT FROM collector.${table} WHERE event_id = ANY($1)`,
    [events.map(({ id }) => id)],
  );
  return rowCount ?? 0;
}

test('a consumer that commits before the work loses what it had read when it was killed', async () => {
  const groupId = 'commit-first';
  const wrong = startCommitFirstBridge(groupId);
  try {
    await until('it has committed everything', async () => (await uncommitted(groupId)) === 0);
    await until('it asks Temporal to start the workflows', () => silence.calls());
  } finally {
    await kill(wrong);
  }

  // However good its successor is, it gets nothing but what comes next.
  const successor = await stack.start('bridge', { BRIDGE_GROUP_ID: groupId });
  const next = Array.from({ length: 6 }, (_, partition) => ({
    ...messageOf(viewed('next')),
    partition,
  }));
  await produce(stack.kafka, topic, next);
  await until('what came next is handled', async () => {
    const { rows } = await stack.pool.query<{ view_count: number }>(
      "SELECT view_count FROM collector.product_metrics WHERE product_id = 'next'",
    );
    return rows[0]?.view_count === next.length;
  });
  expect(await uncommitted(groupId)).toBe(0);
  expect(await countOf('event_log')).toBe(0);
  await successor.end();
}, 120_000);

test('the bridge, killed at the same moment, loses nothing', async () => {
  const groupId = stack.config.BRIDGE_GROUP_ID;
  const bridge = await stack.launch('bridge', { TEMPORAL_ADDRESS: silence.address });
  await until('it asks Temporal to start the workflows', () => silence.calls());
  await bridge.end('SIGKILL');
  expect(await uncommitted(groupId)).toBeGreaterThanOrEqual(events.length);

  await stack.start('bridge');
  await until('all are handled', async () => (await countOf('event_handled')) === events.length);
  await until('all is committed', async () => (await uncommitted(groupId)) === 0);
}, 120_000);

function startCommitFirstBridge(groupId: string): ChildProcess {
  return spawn(
    process.execPath,
    ['--require', './typescript.cjs', path.join(__dirname, 'commit-first-bridge.ts')],
    {
      env: {
        ...process.env,
        ...stack.environment,
        BRIDGE_GROUP_ID: groupId,
        TEMPORAL_ADDRESS: silence.address,
      },
      stdio: 'ignore',
    },
  );
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) throw new Error('It has ended by itself.');
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
