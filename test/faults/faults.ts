/**
 * Every fault: how it is injected, and how it is reverted. The invariants afterwards are the same
 * for all of them: see invariants.ts. A new one is a small object in this list.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerName } from '../../cluster/local-cluster';
import { deadLetterTopicOf, eventTopics } from '../../events/topics';
import { migrateTopics } from '../../migrations/migrate';
import { createLogger } from '../../platform/observability/logger';
import { produce } from '../../testkit/foreign-producer';
import type { ProcessName, RunningProcess, Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { altered, lateFillKey, preloading, type LateFill } from './altered';
import { brokerFaults } from './brokers';
import { timeOf } from './clock';
import { enterEmptyNamespace, namespaceOf, resetOffsets, skipToEnd } from './forgetting';
import { startCuttingProxy } from './cutting-proxy';
import { freezeFor, killServer } from './servers';
import { sendHostileBatches } from './hostile-batches';
import type { Ledger } from './ledger';
import { sendPoison, type PoisonCounts } from './poison';
import { storeFailovers } from './store-failovers';
import type { Random } from '../../testkit/random';
import type { WebhookReceiver } from '../../testkit/webhook-receiver';

export interface FaultContext {
  readonly stack: Stack;
  readonly ledger: Ledger;
  readonly random: Random;
  /** Poison messages that were sent. */
  readonly poison: PoisonCounts;
  /** Who is told of sold-out products. */
  readonly receiver: WebhookReceiver;
  /** For how long the receiver is away, in ms. */
  readonly receiverAwayMs: number;
  /** For how long the cache is away in `cache-away`, in ms. */
  readonly cacheAwayMs: number;
}

/** One fault. */
export interface Fault {
  readonly name: string;
  /** What it does, for the report. */
  readonly strikes: string;
  /**
   * Whether the topics lose messages: less can be checked then, and the next fault gets a pipeline
   * of its own.
   */
  readonly cutsLog?: true;
  /**
   * It also holds times against bounds, under a load of its own instead of the common one: for a machine that
   * is idle otherwise. A selection by `--count` leaves it out.
   */
  readonly measures?: true;
  /** How many brokers it needs; one unless set. */
  readonly needsBrokers?: 3;
  /** Injects the fault under load, and reverts it. */
  inject(context: FaultContext): Promise<void>;
}

const processNames = ['api', 'bridge', 'worker:commerce', 'worker:collector'] as const;
/** `kafka` is all of its brokers at once. */
const serverNames = ['kafka', 'postgres', 'redis', 'temporal', 'payments'] as const;

const awayMs = 60_000;

/** Longer than the timeouts of its clients: sessions, requests, locks. */
const frozenMs = 25_000;

/** Every fault. */
export const faults: readonly Fault[] = [
  {
    name: 'nothing',
    strikes: 'nothing: what the same load does undisturbed',
    inject: () => sleep(10_000),
  },
  ...processNames.map((name) => kill(name)),
  ...processNames.map((name) => freeze(name)),
  breakpoint('worker:commerce', 'commit:stock-change', 'stock changed, nobody told'),
  breakpoint('worker:commerce', 'before:outbox-mark', 'brokers acknowledged, not yet marked'),
  breakpoint('worker:commerce', 'after:order-reserve', 'stock reserved, nobody told'),
  breakpoint('worker:commerce', 'before:order-confirm', 'charged, not yet confirmed'),
  breakpoint('worker:commerce', 'after:order-confirm', 'order confirmed, nobody told'),
  breakpoint('worker:collector', 'after:event-log-insert', 'logged, not yet counted'),
  breakpoint('worker:collector', 'after:metrics-update', 'counted, Temporal not told'),
  ...serverNames.map((name) => restart(name)),
  ...serverNames.map((name) => away(name)),
  ...serverNames.map((name) => killAndStart(name)),
  ...serverNames.map((name) => freezeServer(name)),
  ...brokerFaults,
  {
    name: 'power-cut',
    strikes: 'kill -9 of every process and every server at once, then all of it is started again',
    async inject({ stack }) {
      await Promise.all(serverNames.map((name) => killServer(stack, name)));
      await Promise.all(processNames.map((name) => endAll(stack, name, 'SIGKILL')));
      await Promise.all(serverNames.map((name) => stack.cluster.start(name)));
      await Promise.all(processNames.map((name) => stack.start(name)));
    },
  },
  {
    name: 'views-without-kafka',
    strikes: 'Kafka is stopped, and the API is killed (-9) twice before it is back',
    async inject({ stack }) {
      await stack.cluster.stop('kafka');
      try {
        for (let turn = 0; turn < 2; turn += 1) {
          await sleep(3_000);
          await endAll(stack, 'api', 'SIGKILL');
          await stack.start('api');
        }
      } finally {
        await stack.cluster.start('kafka');
      }
    },
  },
  {
    name: 'answers-swallowed',
    strikes:
      'a proxy cuts connections to Kafka after it has taken a produce or a commit and before it has answered',
    async inject(context) {
      const brokers = context.stack.config.KAFKA_BROKERS.map((address) =>
        Number(address.split(':')[1]),
      );
      const proxies = await Promise.all(brokers.map((port) => startCuttingProxy(port, 7)));
      const around = altered('through-proxy');
      around['FAULT_PROXY'] = proxies
        .map((proxy, index) => `${brokers[index]}:${proxy.port}`)
        .join(',');
      const cuts = (): number => proxies.reduce((sum, proxy) => sum + proxy.cuts(), 0);
      try {
        await replaceAll(context, around);
        await until('answers have been swallowed', () => cuts() >= 6, { timeoutMs: 60_000 });
        await replaceAll(context, {});
      } finally {
        await Promise.all(proxies.map((proxy) => proxy.stop()));
      }
    },
  },
  {
    name: 'late-fills',
    strikes:
      'readers fill the cache only after the product that they have read has changed, and been evicted',
    async inject(context) {
      const { stack } = context;
      await endAll(stack, 'api');
      await stack.start('api', altered('late-fills'));
      await changeBehindReader(context);
      await endAll(stack, 'api');
      await stack.start('api');
    },
  },
  {
    name: 'cut-connections',
    strikes: 'every connection to PostgreSQL is cut, ten times within five seconds',
    async inject({ stack }) {
      for (let turn = 0; turn < 10; turn += 1) {
        await stack.pool.query(`
          SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()`);
        await sleep(500);
      }
    },
  },
  {
    name: 'rebalance-storm',
    strikes: 'three more bridges join, and leave one after the other, some by kill -9',
    async inject({ stack }) {
      const joined = [];
      for (let turn = 0; turn < 3; turn += 1) joined.push(await stack.start('bridge'));
      for (const [turn, bridge] of joined.entries()) {
        await bridge.end(turn % 2 === 0 ? 'SIGTERM' : 'SIGKILL');
        await sleep(1_000);
      }
    },
  },
  {
    name: 'redelivery',
    strikes: 'every offset is reset: every event that there ever was comes again',
    async inject({ stack }) {
      await endAll(stack, 'bridge');
      await resetOffsets(stack);
      await stack.start('bridge');
    },
  },
  {
    name: 'redelivery-in-batches',
    strikes: 'every offset is reset, and a bridge that coalesces takes over',
    async inject({ stack }) {
      await endAll(stack, 'bridge');
      await resetOffsets(stack);
      const coalescing = await stack.start('bridge', { BRIDGE_MODE: 'coalesce' });
      await sleep(5_000);
      await coalescing.end();
      await stack.start('bridge');
    },
  },
  {
    name: 'shuffled-order',
    strikes:
      'the events of ten seconds are kept from the bridge, and come to it shuffled, first ones last',
    async inject({ stack, random }) {
      await endAll(stack, 'bridge');
      await sleep(10_000);
      for (const topic of eventTopics) {
        const skipped = await skipToEnd(stack, topic);
        await produce(stack.kafka, topic, random.shuffle(skipped));
      }
      await stack.start('bridge');
    },
  },
  {
    name: 'history-lost',
    strikes: 'Temporal has forgotten everything: an empty namespace, and every event again',
    inject: forgetHistory,
  },
  {
    name: 'receiver-away',
    strikes:
      'the receiver of notifications is away (`--away` seconds) while products sell out, then answers 503 twice each; meanwhile the collector’s worker is killed three times and what is sold out comes again',
    inject: loseReceiver,
  },
  {
    name: 'poison',
    strikes: 'messages of every kind that cannot be events, between healthy ones',
    inject: ({ stack, poison }) => sendPoison(stack, poison),
  },
  {
    name: 'hostile-batches',
    strikes:
      'record batches of every kind between healthy ones on each partition: every codec, strange headers, aborted transactions, poison; on some 100,000 headers, 3 MiB, and what unpacks to more than 64 MiB',
    async inject(context) {
      await sendHostileBatches(context);
      await sendPoison(context.stack, context.poison);
    },
  },
  {
    name: 'topic-made-anew',
    strikes: 'the topics are deleted and made anew while everything runs',
    cutsLog: true,
    async inject({ stack }) {
      const cutAt = await timeOf(stack);
      await makeTopicsAnew(stack);
      await untilShopsEventsAreLogged(stack, cutAt);
    },
  },
  {
    name: 'retention-runs-ahead',
    strikes: 'every message is deleted while the bridge is frozen, and has not read the last ones',
    cutsLog: true,
    async inject({ stack }) {
      const [bridge] = stack.running('bridge');
      bridge!.signal('SIGSTOP');
      try {
        await sleep(10_000);
        await deleteRecords(stack);
      } finally {
        bridge!.signal('SIGCONT');
      }
      await untilShopsEventsAreLogged(stack, await timeOf(stack));
    },
  },
  ...storeFailovers(replaceAll),
];

async function makeTopicsAnew({ kafka }: Stack): Promise<void> {
  const topics = eventTopics.flatMap((topic) => [topic, deadLetterTopicOf(topic)]);
  const admin = kafka.admin();
  await admin.connect();
  try {
    await admin.deleteTopics({ topics });
    await until('they are gone', async () => {
      const left = await admin.listTopics();
      return !topics.some((topic) => left.includes(topic));
    });
  } finally {
    await admin.disconnect();
  }
  await migrateTopics(kafka, createLogger('test', 'fatal'));
}

async function deleteRecords({ kafka }: Stack): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    for (const topic of eventTopics) {
      const ends = await admin.fetchTopicOffsets(topic);
      const partitions = ends
        .filter(({ low, high }) => low !== high)
        .map(({ partition, high: offset }) => ({ partition, offset }));
      if (partitions.length > 0) await admin.deleteTopicRecords({ topic, partitions });
    }
  } finally {
    await admin.disconnect();
  }
}

/** The audit has to find what was lost first: until then the pipeline looks idle. */
async function untilShopsEventsAreLogged({ pool }: Stack, createdBefore: Date): Promise<void> {
  await until(
    'the shop’s events that were lost have arrived',
    async () => {
      const { rows } = await pool.query<{ missing: number }>(
        `SELECT count(*)::int AS missing FROM commerce.outbox
          WHERE created_at <= $1 AND event_id NOT IN (SELECT event_id FROM collector.event_log)`,
        [createdBefore],
      );
      return rows[0]?.missing === 0;
    },
    { timeoutMs: 120_000 },
  );
}

function kill(name: ProcessName): Fault {
  return {
    name: `kill-${name}`,
    strikes: `kill -9 of ${name}, three times`,
    async inject({ stack, random }) {
      for (let turn = 0; turn < 3; turn += 1) {
        await sleep(500 + random.below(1_000));
        await endAll(stack, name, 'SIGKILL');
        await stack.start(name);
      }
    },
  };
}

function freeze(name: ProcessName): Fault {
  return {
    name: `freeze-${name}`,
    strikes: `${name} is frozen for ${frozenMs / 1_000} s and wakes up as a zombie; another one took over`,
    async inject({ stack }) {
      const [victim] = stack.running(name);
      victim!.signal('SIGSTOP');
      try {
        await stack.start(name);
        await sleep(frozenMs);
      } finally {
        victim!.signal('SIGCONT');
      }
      await sleep(3_000);
      await victim!.end();
    },
  };
}

function breakpoint(name: ProcessName, moment: string, what: string): Fault {
  return {
    name: `kill-at-${moment.replace(':', '-')}`,
    strikes: `kill -9 of ${name} at the moment '${moment}': ${what}`,
    async inject({ stack }) {
      await endAll(stack, name, 'SIGKILL');
      const doomed = await stack.launch(name, {
        ...preloading('breakpoint'),
        FAULT_BREAKPOINT: moment,
      });
      const dead = () => !stack.running(name).includes(doomed);
      await until(`${name} has reached ${moment}`, dead, { timeoutMs: 60_000 });
      await assertKilled(doomed);
      await stack.start(name);
    },
  };
}

/** @throws Error with what it has written, when it has ended otherwise */
export async function assertKilled(dead: RunningProcess): Promise<void> {
  const exitCode = await dead.end();
  if (exitCode !== null) throw new Error(`${dead.name} ended with ${exitCode}:\n${dead.output()}`);
}

function away(name: ServerName): Fault {
  return {
    name: `away-${name}`,
    strikes: `${name} is stopped properly and is away for ${awayMs / 1_000} s`,
    async inject({ stack }) {
      await stack.cluster.stop(name);
      await sleep(awayMs);
      await stack.cluster.start(name);
    },
  };
}

function restart(name: ServerName): Fault {
  return {
    name: `restart-${name}`,
    strikes: `${name} is stopped properly and started again at once`,
    async inject({ stack }) {
      await stack.cluster.stop(name);
      await stack.cluster.start(name);
    },
  };
}

function killAndStart(name: ServerName): Fault {
  return {
    name: `kill-${name}`,
    strikes: `kill -9 of ${name}, then it is started again`,
    async inject({ stack }) {
      await killServer(stack, name);
      await sleep(1_000);
      await stack.cluster.start(name);
    },
  };
}

function freezeServer(name: ServerName): Fault {
  return {
    name: `freeze-${name}`,
    strikes: `${name} is frozen for ${frozenMs / 1_000} s`,
    inject: (context) => freezeFor(context, name, frozenMs),
  };
}

/** Stops every process, and continues in an empty namespace with every event redelivered. */
export async function forgetHistory({ stack }: FaultContext): Promise<void> {
  await Promise.all(processNames.map((name) => endAll(stack, name, 'SIGKILL')));
  await resetOffsets(stack);
  await enterEmptyNamespace(stack);
  await Promise.all(processNames.map((name) => stack.start(name)));
}

async function loseReceiver(context: FaultContext): Promise<void> {
  const { stack, receiver, receiverAwayMs } = context;
  await receiver.leave();
  try {
    for (let turn = 0; turn < 3; turn += 1) {
      await sleep(receiverAwayMs / 3);
      await endAll(stack, 'worker:collector', 'SIGKILL');
      await stack.start('worker:collector');
      await sendSoldOutAgain(stack);
    }
    const asked = new Map<string, number>();
    receiver.answer = ({ key }) => {
      asked.set(key, (asked.get(key) ?? 0) + 1);
      return asked.get(key)! <= 2 ? 503 : 204;
    };
  } finally {
    await receiver.comeBack();
  }
  const from = await timeOf(stack);
  // After a long absence a retry waits for up to a minute, twice more for the two refusals.
  await until(
    'what was to be told is delivered',
    async () => {
      const { rowCount } = await stack.pool.query(
        `SELECT FROM collector.notifications WHERE status = 'pending' AND created_at < $1`,
        [from],
      );
      return rowCount === 0;
    },
    { timeoutMs: 300_000 },
  );
  receiver.answer = () => 204;
}

/** Copies of all events of sold-out products that were logged, as a producer that retries sends them. */
async function sendSoldOutAgain({ pool, kafka }: Stack): Promise<void> {
  const { rows } = await pool.query<{ topic: string; key: string; value: string }>(`
    SELECT topic, aggregate_id AS key, payload::text AS value
    FROM collector.notifications JOIN collector.event_log USING (event_id)`);
  for (const topic of eventTopics) {
    const copies = rows.filter((row) => row.topic === topic);
    if (copies.length > 0) {
      await produce(
        kafka,
        topic,
        copies.map(({ key, value }) => ({ key, value })),
      );
    }
  }
}

const attempts = 3;

/** Changes a product between a reader's miss and its late fill, and returns after that fill. */
export async function changeBehindReader(context: FaultContext): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    if ((await changeOneBehindReader(context)) === 'after its eviction') return;
  }
  throw new Error(`No eviction came in time for a late fill, in ${attempts} attempts.`);
}

async function changeOneBehindReader({ stack, ledger }: FaultContext): Promise<LateFill> {
  const body = { name: 'read late', price: 100, stock: 5 };
  const { body: product } = await stack.call('POST', '/v1/products', { body });
  const { productId } = product as { productId: string };
  ledger.products.set(productId, body.stock);
  ledger.leftAlone.add(productId);
  const route = `/v1/products/${productId}`;
  await untilHandled(stack, productId);
  const asReader = { as: 'shopper', userId: 'reader' } as const;
  await stack.call('GET', route, asReader);
  await stack.call('PUT', `${route}/like`, asReader);
  ledger.likes.set(`${productId} reader`, true);
  const came = await until('the late fill has come', () => stack.redis.get(lateFillKey(productId)));
  return came as LateFill;
}

/** Waits until an aggregate's events are handled; an eviction is visible nowhere else. */
async function untilHandled(stack: Stack, aggregateId: string): Promise<void> {
  const { rows } = await stack.pool.query<{ event_id: string }>(
    'SELECT event_id FROM commerce.outbox WHERE key = $1',
    [aggregateId],
  );
  for (const { event_id: workflowId } of rows) {
    await until(`${workflowId} is handled`, async () => {
      const { workflowExecutionInfo: workflow } =
        await stack.temporal.workflowService.describeWorkflowExecution({
          namespace: namespaceOf(stack),
          execution: { workflowId },
        });
      return workflow?.closeTime;
    });
  }
}

async function replaceAll(
  { stack }: FaultContext,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  await Promise.all(processNames.map((name) => endAll(stack, name)));
  await Promise.all(processNames.map((name) => stack.start(name, environment)));
}

/** Ends every process of a name. */
export async function endAll(
  stack: Stack,
  name: ProcessName,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<void> {
  await Promise.all(stack.running(name).map((each) => each.end(signal)));
}
