import { DatabaseError } from 'pg';
import { pino } from 'pino';
import { asQueryable, createDatabase } from '../../../api/http/database';
import { explainUnmeasured } from '../../../api/status/reasons';
import { watchServers } from '../../../operations/status/servers';
import { createSystemStatus } from '../../../operations/status/status';
import type { Readiness } from '../../../platform/dependencies/readiness';
import { createDisconnectedServer } from '../../../testkit/disconnected-server';
import { until } from '../../../testkit/until';

const never = () => new Promise<never>(() => undefined);

test('with every server away it answers in time: unavailable, and what could not be measured', async () => {
  const server = await createDisconnectedServer();
  try {
    const response = await server.app.inject({
      url: '/v1/status',
      headers: { authorization: 'Bearer dev-operator-key' },
    });
    expect(response.statusCode).toBe(200);
    const { verdict, problems, unmeasured, outbox, lag } = response.json();
    expect(verdict).toBe('unavailable');
    expect(problems[0]).toMatchObject({
      code: 'POSTGRES_UNAVAILABLE',
      sentence: expect.stringMatching(
        /^PostgreSQL unavailable since \d\d:\d\d UTC: requests are answered with 503/,
      ),
      runbook: 'docs/runbook.md#requestsfailing',
    });
    expect({ outbox, lag }).toEqual({ outbox: null, lag: null });
    expect(unmeasured).toContainEqual({
      what: 'outbox, orders, dead letters and bridges',
      reason: 'PostgreSQL is unavailable',
    });
  } finally {
    await server.stop();
  }
}, 20_000);

test('what hangs is unknown after its bound, and is read once for all who ask', async () => {
  const query = jest.fn(never);
  const servers = watchServers(async () => ({ status: 'ready', dependencies: {} }));
  const status = createSystemStatus({
    servers,
    database: { query } as never,
    pipeline: { readLag: async () => [], readProcesses: async () => [] },
    temporal: { withDeadline: async () => undefined } as never,
    explain: explainUnmeasured,
    logger: pino({ level: 'silent' }),
  });
  try {
    const answers = await Promise.all([status.read(), status.read(), status.read()]);
    expect(answers.map(({ verdict }) => verdict)).toEqual(['unknown', 'unknown', 'unknown']);
    expect(answers[0]?.unmeasured).toContainEqual({
      what: 'outbox, orders, dead letters and bridges',
      reason: 'no answer within some seconds',
    });
    await status.read();
    expect(query).toHaveBeenCalledTimes(1);
  } finally {
    servers.stop();
  }
}, 20_000);

test('an outage is dated also while nobody asks, and its end forgets it', async () => {
  const down = { status: 'down', required: false } as const;
  let dependencies: Readiness['dependencies'] = { kafka: down };
  let probes = 0;
  const readiness = async (): Promise<Readiness> => {
    probes += 1;
    return { status: 'degraded', dependencies };
  };
  const begun = Date.now();
  const servers = watchServers(readiness, 1);
  try {
    await until('it has been probed twice', () => probes > 1);
    const [first] = await servers.read();
    const [later] = await servers.read();
    expect(first?.downSince?.getTime()).toBeGreaterThanOrEqual(begun);
    expect(later?.downSince).toEqual(first?.downSince);
    dependencies = { kafka: { status: 'up', required: false } };
    expect(await servers.read()).toMatchObject([{ status: 'up', downSince: null }]);
  } finally {
    servers.stop();
  }
});

test('a statement that PostgreSQL has ended for its time is told as slow, not as unavailable', async () => {
  const tooLate = new DatabaseError('canceling statement due to statement timeout', 0, 'error');
  tooLate.code = '57014';
  const query = async () => Promise.reject(tooLate);
  const servers = watchServers(async () => ({ status: 'ready', dependencies: {} }));
  const status = createSystemStatus({
    servers,
    database: asQueryable(createDatabase({ query } as never)),
    explain: explainUnmeasured,
    pipeline: { readLag: async () => [], readProcesses: async () => [] },
    temporal: { withDeadline: async () => undefined } as never,
    logger: pino({ level: 'silent' }),
  });
  try {
    expect((await status.read()).unmeasured).toContainEqual({
      what: 'outbox, orders, dead letters and bridges',
      reason: 'PostgreSQL is slow: its statement timeout has passed',
    });
  } finally {
    servers.stop();
  }
});
