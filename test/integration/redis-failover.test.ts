/**
 * Redis fails over: behind one address, with sentinels, and as a cluster. No command waits for a dead
 * socket, the connection finds the server that takes writes, and evictions catch up.
 */
import { createProductCache, cacheProbeKey, productCacheKey } from '../../cache/product-cache';
import { redisCheck } from '../../platform/dependencies/probes';
import { checkReadiness } from '../../platform/dependencies/readiness';
import { assertNotRejected } from '../../platform/dependencies/startup-checks';
import { redisStartupCheck } from '../../platform/dependencies/servers';
import { createLogger } from '../../platform/observability/logger';
import { readConfig } from '../../platform/process/config';
import { createRedis, type RedisConnection } from '../../platform/redis/client';
import { messageOf, produce, stockAdjusted } from '../../testkit/foreign-producer';
import { startRedisCluster, startRedisServer, type RedisServer } from '../../testkit/redis-servers';
import { createStack } from '../../testkit/stack';
import { startSwitchableProxy } from '../../testkit/switchable-proxy';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');
/** How soon a connection works again once a server that takes writes can be reached, in ms. */
const recoveryMs = 5_000;
/** How far the clocks of two processes and their milliseconds lie apart, in ms. */
const roundingMs = 100;
const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function serverOf(...lines: string[]): Promise<RedisServer> {
  const server = await startRedisServer(lines);
  stops.push(() => server.stop());
  return server;
}

async function proxyTo(port: number) {
  const proxy = await startSwitchableProxy(port);
  stops.push(() => proxy.stop());
  return proxy;
}

async function connectionTo(url: string): Promise<RedisConnection> {
  const redis = createRedis(url, logger);
  stops.push(async () => redis.disconnect());
  await until('it is connected', () => redis.status === 'ready');
  return redis;
}

async function stateOf(redis: RedisConnection) {
  const check = redisCheck(redis, cacheProbeKey, { required: true });
  return (await checkReadiness([check])).dependencies['redis']!;
}

async function timeUntil(what: string, look: () => Promise<unknown>): Promise<number> {
  const from = Date.now();
  await until(what, look);
  return Date.now() - from;
}

test('a half-open connection is dropped for a new one, though nobody closes it', async () => {
  const server = await serverOf();
  const proxy = await proxyTo(server.port);
  const redis = await connectionTo(`redis://127.0.0.1:${proxy.port}`);
  await redis.set('key', 'value');

  proxy.silence();

  const failsAfterMs = Date.now();
  await expect(redis.get('key')).rejects.toThrow('timed out');
  expect(Date.now() - failsAfterMs).toBeLessThan(2_000);
  expect(await timeUntil('a command is answered', () => redis.get('key'))).toBeLessThan(recoveryMs);
});

test('a server that became a replica is not ready, and left for the one behind the same address', async () => {
  const [first, second] = [await serverOf(), await serverOf()];
  const proxy = await proxyTo(first.port);
  const redis = await connectionTo(`redis://127.0.0.1:${proxy.port}`);
  expect(await stateOf(redis)).toMatchObject({ status: 'up' });

  await first.admin.replicaof('127.0.0.1', second.port);
  await until('that is seen', async () => (await stateOf(redis)).reason?.startsWith('READONLY'));
  proxy.leadTo(second.port);

  const cache = createProductCache(redis);
  const tookMs = await timeUntil('an eviction succeeds', async () => {
    await cache.evict(['product']);
    return true;
  });
  expect(tookMs).toBeLessThan(recoveryMs);
  expect(await stateOf(redis)).toMatchObject({ status: 'up' });
});

test('a lookup that finds a replica leaves it, too, though only a script wanted to write', async () => {
  const [first, second] = [await serverOf(), await serverOf()];
  const proxy = await proxyTo(first.port);
  const redis = await connectionTo(`redis://127.0.0.1:${proxy.port}`);
  await first.admin.replicaof('127.0.0.1', second.port);
  proxy.leadTo(second.port);

  const cache = createProductCache(redis);
  const lookUp = () => cache.lookUp('product');
  await expect(lookUp()).rejects.toThrow('READONLY');
  expect(await timeUntil('a lease is given', lookUp)).toBeLessThan(recoveryMs);
});

test('an eviction and a voided lease that a failover forgot leave nothing beyond the time to live', async () => {
  const first = await serverOf();
  const second = await serverOf(`replicaof 127.0.0.1 ${first.port}`);
  const proxy = await proxyTo(first.port);
  const redis = await connectionTo(`redis://127.0.0.1:${proxy.port}`);
  const times = { timeToLiveMs: 12_000, leaseMs: 10_000 };
  const cache = createProductCache(redis, times);
  const readAt = Date.now();
  const reader = await cache.lookUp('product');
  if (reader.hit) throw new Error('nothing can be cached yet');
  await until('the replica has the lease', async () => (await second.admin.dbsize()) === 1);

  await second.admin.replicaof('NO', 'ONE');
  await cache.evict(['product']);
  proxy.leadTo(second.port);
  proxy.silence();
  await until('it is connected anew', () => redis.set(cacheProbeKey, '', 'PX', 1));

  // What it has read is as old as its lease, which the new master takes for good.
  await until('the fill is late', () => Date.now() > readAt + 500);
  expect(await cache.fill('product', reader.lease, 'stale')).toBe(true);
  const left = await second.admin.pttl(productCacheKey('product'));
  expect(Date.now() + left).toBeLessThanOrEqual(readAt + times.timeToLiveMs + roundingMs);
});

describe('in a Redis Cluster', () => {
  test('a product’s detail and its lease are in one slot, and several products are evicted at once', async () => {
    const nodes = await startRedisCluster();
    nodes.forEach((node) => stops.push(() => node.stop()));
    const redis = await connectionTo(`redis+cluster://127.0.0.1:${nodes[0]!.port}`);
    const cache = createProductCache(redis);
    const products = Array.from({ length: 20 }, (_, index) => `product-${index}`);

    for (const productId of products) {
      const lookup = await cache.lookUp(productId);
      if (lookup.hit) throw new Error('nothing can be cached yet');
      expect(await cache.fill(productId, lookup.lease, productId)).toBe(true);
    }
    const kept = await Promise.all(nodes.map(({ admin }) => admin.dbsize()));
    expect(kept.map((keys) => keys > 0)).toEqual([true, true]);
    const cached = () => Promise.all(products.map((id) => redis.get(productCacheKey(id))));
    expect(await cached()).toEqual(products);
    const reader = await cache.lookUp('read-late');
    await cache.evict([...products, 'read-late']);
    expect(new Set(await cached())).toEqual(new Set([null]));
    expect(await cache.fill('read-late', reader.hit ? '' : reader.lease, 'stale')).toBe(false);
    expect(await stateOf(redis)).toMatchObject({ status: 'up' });
  });

  test.each([
    ['redis', ['cluster-enabled yes'], 'redis+cluster://'],
    ['redis+cluster', [], 'the server is none'],
  ])('an address that says %s of the other kind ends the start', async (scheme, lines, says) => {
    const { port } = await serverOf(...lines);
    const config = readConfig({ REDIS_URL: `${scheme}://127.0.0.1:${port}` });
    await expect(assertNotRejected([redisStartupCheck(config)])).rejects.toMatchObject({
      code: 'SERVER_KIND_WRONG',
      message: expect.stringContaining(says),
    });
  });
});

test('with sentinels the replica that they promote is found', async () => {
  const master = await serverOf();
  const replica = await serverOf(`replicaof 127.0.0.1 ${master.port}`);
  await until('it replicates', async () =>
    (await replica.admin.info('replication')).includes('master_link_status:up'),
  );
  const sentinel = await startRedisServer(
    [
      `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds shop 1000',
      'sentinel failover-timeout shop 5000',
    ],
    'sentinel',
  );
  stops.push(() => sentinel.stop());
  const url = `redis+sentinel://127.0.0.1:1,127.0.0.1:${sentinel.port}/shop`;
  await until('the sentinel knows the replica', async () => {
    const known = (await sentinel.admin.call('SENTINEL', 'replicas', 'shop')) as unknown[];
    return known.length === 1;
  });
  await assertNotRejected([redisStartupCheck(readConfig({ REDIS_URL: url }))]);
  const redis = await connectionTo(url);
  await redis.set('key', 'value');
  await until('it is replicated', () => replica.admin.get('key'));

  await master.stop();

  await until('a write succeeds', () => redis.set('key', 'later'));
  expect(await replica.admin.get('key')).toBe('later');
});

test('evictions catch up after half-open connections, and behind an address that leads elsewhere', async () => {
  const [first, second] = [await serverOf(), await serverOf()];
  const proxy = await proxyTo(first.port);
  const stack = await createStack(['bridge', 'worker:collector'], {
    REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
  });
  stops.push(() => stack.stop());
  const evict = async (productId: string, server: RedisServer): Promise<void> => {
    await server.admin.set(productCacheKey(productId), '{"soldOut":false}');
    const event = stockAdjusted(productId, 1, 0, 1);
    await produce(stack.kafka, 'catalog-events', [messageOf(event)]);
    await until('it is evicted', async () => {
      const workflow = await stack.temporal.workflow.getHandle(event.id).describe();
      return workflow.status.name === 'COMPLETED';
    });
    expect(await server.admin.exists(productCacheKey(productId))).toBe(0);
  };

  proxy.silence();
  await evict('half-open', first);

  await first.admin.replicaof('127.0.0.1', second.port);
  proxy.leadTo(second.port);
  await evict('demoted', second);
  await until('the test is connected anew, too', () => stack.redis.ping());
}, 120_000);
