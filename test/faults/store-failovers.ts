/** The faults in which PostgreSQL and Redis fail over, or look as if they had. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { reportsReady } from '../../platform/dependencies/readiness';
import { makeReadOnly, makeWritable } from '../../testkit/read-only-database';
import { startRedisServer } from '../../testkit/redis-servers';
import type { ProcessName, Stack } from '../../testkit/stack';
import { startSwitchableProxy, type SwitchableProxy } from '../../testkit/switchable-proxy';
import { until } from '../../testkit/until';
import type { Fault, FaultContext } from './faults';

/** Ends every process and starts it anew, with these variables. */
type ReplaceAll = (
  context: FaultContext,
  environment: Readonly<Record<string, string>>,
) => Promise<void>;

const processNames: readonly ProcessName[] = [
  'api',
  'bridge',
  'worker:commerce',
  'worker:collector',
];

const readOnlyMs = 20_000;
const halfOpenMs = 60_000;
/** How soon changes succeed again once PostgreSQL takes writes, in ms. */
const recoveryMs = 5_000;

export function storeFailovers(replaceAll: ReplaceAll): readonly Fault[] {
  return [
    {
      name: 'postgres-read-only',
      strikes: `PostgreSQL takes no writes for ${readOnlyMs / 1_000} s, as a primary that has become a replica: no answer is 500, nothing is ready meanwhile, and changes succeed ${recoveryMs / 1_000} s later`,
      inject: refuseWrites,
    },
    {
      name: 'redis-half-open',
      strikes: `connections to Redis stay open and carry nothing, for ${halfOpenMs / 1_000} s new ones do not, either; those from before stay so`,
      inject: (context) =>
        behindProxy(context, replaceAll, context.stack.cluster.ports.redis, async (proxy) => {
          proxy.takesOnlySilently(true);
          proxy.silence();
          await sleep(halfOpenMs);
          proxy.takesOnlySilently(false);
        }),
    },
    {
      name: 'redis-demoted',
      strikes:
        'Redis becomes a replica of another, empty one, to which its address leads 10 s later',
      inject: (context) => swapRedis(context, replaceAll),
    },
  ];
}

async function refuseWrites({ stack, ledger }: FaultContext): Promise<void> {
  const before = ledger.failures.length;
  await makeReadOnly(stack);
  try {
    await eachProcess(stack, 'is not ready', async (url) => !(await reportsReady(url)));
    await sleep(readOnlyMs);
  } finally {
    await makeWritable(stack);
  }
  const from = Date.now();
  await Promise.all([
    eachProcess(stack, 'is ready', reportsReady),
    registerAgain({ stack, ledger }),
  ]);
  const tookMs = Date.now() - from;
  if (tookMs > recoveryMs) throw new Error(`changes succeed after ${tookMs} ms only`);
  const failures = ledger.failures.slice(before);
  if (failures.length > 0) throw new Error(`answers without a way on: ${failures.join(', ')}`);
}

async function eachProcess(
  stack: Stack,
  what: string,
  look: (url: string) => Promise<boolean>,
): Promise<void> {
  await Promise.all(
    processNames.flatMap((name) =>
      stack.running(name).map(({ url }) => until(`${name} ${what}`, () => look(url))),
    ),
  );
}

/** Whether a process that has Redis says that it takes writes. */
async function reportsRedis(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
  const { dependencies } = (await answer.json()) as {
    dependencies: Readonly<Record<string, { readonly status: string } | undefined>>;
  };
  const { redis } = dependencies;
  return redis === undefined || redis.status === 'up';
}

/** A change that nothing else of the load waits for. */
async function registerAgain({ stack, ledger }: Pick<FaultContext, 'stack' | 'ledger'>) {
  const body = { name: 'registered after the failover', price: 100, stock: 5 };
  const idempotencyKey = randomUUID();
  const productId = await until('a product is registered', async () => {
    const answer = await stack.call('POST', '/v1/products', { body, idempotencyKey });
    return answer.status === 201 ? (answer.body as { productId: string }).productId : undefined;
  });
  ledger.products.set(productId, body.stock);
  ledger.leftAlone.add(productId);
}

/** The processes have Redis behind a proxy while `work` goes on. */
async function behindProxy(
  context: FaultContext,
  replaceAll: ReplaceAll,
  port: number,
  work: (proxy: SwitchableProxy) => Promise<void>,
): Promise<void> {
  const proxy = await startSwitchableProxy(port);
  try {
    await replaceAll(context, { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    await sleep(2_000);
    await work(proxy);
    // By the connections that the processes have: those that follow would begin with new ones.
    await eachProcess(context.stack, 'has Redis again', reportsRedis);
    await replaceAll(context, {});
  } finally {
    await proxy.stop();
  }
}

async function swapRedis(context: FaultContext, replaceAll: ReplaceAll): Promise<void> {
  const { stack } = context;
  const { redis: port } = stack.cluster.ports;
  const first = await startRedisServer();
  try {
    await behindProxy(context, replaceAll, first.port, async (proxy) => {
      await stack.redis.flushall();
      await first.admin.replicaof('127.0.0.1', port);
      await sleep(10_000);
      proxy.leadTo(port);
    });
  } finally {
    await first.stop();
  }
}
