/** `cached-read`: what the API adds to reading a product from the cache. */
import autocannon from 'autocannon';
import { createStack } from '../../testkit/stack';
import { findFreePorts } from '../../cluster/local-cluster';
import { startInBackground } from '../background';
import { readCounter } from '../scrape';
import { inTurn, ratioOf, type Contestant, type Suite } from '../suite';

const durationSeconds = 8;
const connections = 32;

export const cachedRead: Suite = {
  name: 'cached-read',
  about: 'GET /v1/products/{id} on a hit, with authentication and its view event',
  async run(context) {
    const { kafka: apiPort, redis: barePort } = await findFreePorts();
    const stack = await createStack(['worker:commerce']);
    await stack.start('api', {
      API_PORT: String(apiPort),
      LOG_LEVEL: 'warn',
      // One key asks for all of it.
      API_READS_PER_SECOND: '1000000',
    });
    const bare = await startInBackground('bare/cached-api.ts', {
      ...stack.environment,
      BARE_PORT: String(barePort),
    });
    try {
      const body = { name: 'a lamp', price: 100, stock: 5 };
      const { body: product } = await stack.call('POST', '/v1/products', { body });
      const route = `/v1/products/${(product as { productId: string }).productId}`;
      const detail = await stack.call('GET', route);
      const headers = { authorization: 'Bearer dev-shopper-key', 'x-user-id': 'user-1' };
      const seconds = Math.max(1, Math.round(durationSeconds * context.scale));
      const read = (name: string, what: string, port: number): Contestant => ({
        name,
        what,
        measure: () =>
          onHitsOnly(apiPort, () =>
            readOverAndOver(`http://127.0.0.1:${port}${route}`, headers, seconds, detail.body),
          ),
      });
      const sides = await inTurn(
        [
          read('api', 'authentication, lease-guarded cache, view event to Kafka, logs', apiPort),
          read('bare', 'Fastify and one GET of Redis', barePort),
        ],
        context,
      );
      const goal = { atLeast: 0.3 };
      return {
        sides,
        ratios: [ratioOf(sides, 'api', 'bare', 'reads/s', { kind: 'limit', goal })],
        targets: [],
        remarks: [
          `${connections} connections; every read of the API is a hit and sends a view; no key has a limit of reads`,
        ],
      };
    } finally {
      await bare.end();
      await stack.stop();
    }
  },
};

/** @throws when a read was not a cache hit */
async function onHitsOnly(
  apiPort: number,
  measure: () => Promise<Record<string, number>>,
): Promise<Record<string, number>> {
  const before = await countOtherLookups(apiPort);
  const figures = await measure();
  const others = (await countOtherLookups(apiPort)) - before;
  if (others > 0) throw new Error(`${others} reads were not cache hits.`);
  return figures;
}

function countOtherLookups(apiPort: number): Promise<number> {
  const url = `http://127.0.0.1:${apiPort}/metrics`;
  return readCounter(url, 'commerce_cache_lookups_total', (labels) => !labels.includes('"hit"'));
}

async function readOverAndOver(
  url: string,
  headers: Readonly<Record<string, string>>,
  duration: number,
  expected: unknown,
): Promise<Record<string, number>> {
  const answer = await fetch(url, { headers });
  if (JSON.stringify(await answer.json()) !== JSON.stringify(expected)) {
    throw new Error(`${url} does not return the product.`);
  }
  await autocannon({ url, headers, connections, duration: 2 });
  const { requests, latency, non2xx, errors } = await autocannon({
    url,
    headers,
    connections,
    duration,
  });
  if (non2xx > 0 || errors > 0) throw new Error(`${non2xx} refused and ${errors} failed reads.`);
  return { 'reads/s': requests.average, 'p50 ms': latency.p50, 'p99 ms': latency.p99 };
}
