import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { readConfig } from '../../platform/process/config';
import type { Check } from '../../platform/dependencies/readiness';
import { MetricsPortError, serveMetrics } from '../../platform/observability/prometheus-server';
import { addMetricsSource } from '../../platform/observability/telemetry';

const down: { current: readonly Check[] } = { current: [] };
let url: string;
const stops: (() => Promise<unknown>)[] = [];

function processWith(METRICS_PORT: string | undefined, onUrl: (url: string) => void = () => {}) {
  const logger = pino(
    {},
    { write: (line) => onUrl((JSON.parse(line) as { metricsUrl: string }).metricsUrl) },
  );
  return {
    config: readConfig(METRICS_PORT === undefined ? {} : { METRICS_PORT }),
    logger,
    onStop: (_: string, stop: () => Promise<unknown>) => stops.push(stop),
  };
}

function check(name: string, required: boolean, probe: () => Promise<unknown>): Check {
  return { name, required, probe };
}

beforeAll(async () => {
  const checks = [
    check('postgres', true, async () => down.current.map(({ probe }) => probe())),
    check('redis', false, () => Promise.reject(new Error('not connected'))),
  ];
  const told = (metricsUrl: string) => {
    url = metricsUrl.replace('/metrics', '');
  };
  const details = async () => ({ bridge: { lag: 3 } });
  await serveMetrics(processWith('0', told), { kinds: ['bridge'], checks, details });
});

afterAll(async () => {
  for (const stop of stops) await stop();
});

test('nothing is served unless METRICS_PORT is set', async () => {
  expect(await serveMetrics(processWith(undefined), { kinds: ['bridge'], checks: [] })).toBe(false);
});

test("metrics are those of the process's kind, with those of other sources", async () => {
  addMetricsSource(async () => 'temporal_something_total 7');
  const response = await fetch(`${url}/metrics`);
  const body = await response.text();
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  expect(body).toContain('nodejs_heap_size_used_bytes');
  expect(body).toContain('commerce_bridge_slots');
  expect(body).not.toContain('commerce_http_request_duration_seconds');
  expect(body).toContain('temporal_something_total 7');
});

test('a source that fails costs its own metrics only, and is counted', async () => {
  addMetricsSource(() => Promise.reject(new Error('away')));
  await fetch(`${url}/metrics`);
  const body = await (await fetch(`${url}/metrics`)).text();
  expect(body).toMatch(/commerce_metrics_source_failures_total [1-9]/);
});

test('it is ready without what it can do without, and not without what it needs', async () => {
  const degraded = await fetch(`${url}/readyz`);
  expect(degraded.status).toBe(200);
  expect(await degraded.json()).toEqual({
    status: 'degraded',
    dependencies: {
      postgres: { status: 'up', required: true },
      redis: { status: 'down', required: false, reason: 'not connected' },
    },
    bridge: { lag: 3 },
  });
  down.current = [
    check('postgres', true, () => {
      throw Object.assign(new Error('connect 10.1.2.3:5432'), { code: 'ECONNREFUSED' });
    }),
  ];
  const unavailable = await fetch(`${url}/readyz`);
  expect(unavailable.status).toBe(503);
  expect(await unavailable.json()).toMatchObject({
    status: 'unavailable',
    dependencies: { postgres: { status: 'down', reason: 'ECONNREFUSED' } },
  });
});

test('it lives, and knows no other paths or methods', async () => {
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/`)).status).toBe(404);
  expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
});

test('a port that is taken is an error that names the variable and what to do', async () => {
  const occupant = createServer().listen(0, '127.0.0.1');
  await once(occupant, 'listening');
  stops.push(async () => occupant.close());
  const { port } = occupant.address() as AddressInfo;
  const refused = serveMetrics(processWith(String(port)), { kinds: ['bridge'], checks: [] });
  await expect(refused).rejects.toThrow(MetricsPortError);
  await expect(refused).rejects.toThrow(`METRICS_PORT: port ${port} on 127.0.0.1 is in use`);
});
