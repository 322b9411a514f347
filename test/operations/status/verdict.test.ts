import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { LastAudit } from '../../../operations/status/last-audit';
import { judge } from '../../../operations/status/verdict';
import type { BridgeState, Counts, Measurements } from '../../../operations/status/measurements';
import type { PartitionLag } from '../../../platform/kafka/consumer-lag';

const at = new Date('2026-01-01T22:30:00.000Z');
const ago = (seconds: number): Date => new Date(at.getTime() - seconds * 1_000);
const none = { count: 0, more: false, oldestAt: null };

const counts: Counts = {
  outbox: none,
  orders: none,
  deadLetters: none,
  bridges: [],
  consumption: { holds: [], limit: null, topicLimits: [] },
  verification: null,
};

const lastAudit: LastAudit = {
  workflowId: 'delivery-audit-1',
  startedAt: ago(30),
  failure: null,
  findings: {},
  everyMs: 60_000,
};

const healthy: Measurements = {
  at,
  servers: ['postgres', 'temporal', 'kafka', 'topics', 'redis'].map((name) => ({
    name,
    status: 'up',
    required: ['postgres', 'temporal'].includes(name),
    downSince: null,
  })),
  counts: { value: counts },
  lag: { value: [] },
  processes: {
    value: [
      { name: 'worker:commerce', running: 1 },
      { name: 'worker:collector', running: 1 },
      { name: 'bridge', running: 2 },
    ],
  },
  audit: { value: lastAudit },
};

function counting(changed: Partial<Counts>): Partial<Measurements> {
  return { counts: { value: { ...counts, ...changed } } };
}

function down(name: string, seconds: number): Partial<Measurements> {
  return {
    servers: healthy.servers.map((server) =>
      server.name === name ? { ...server, status: 'down', downSince: ago(seconds) } : server,
    ),
  };
}

function lagOf(lag: number, oldestSeconds: number): PartitionLag {
  const oldestUncommittedAt = ago(oldestSeconds).getTime();
  return {
    ...{ topic: 'order-events', partition: 1, committed: 0, start: 0, end: lag, lag },
    oldestUncommittedAt,
  };
}

function bridge(mode: BridgeState['mode'], lagGrowsSince: Date | null): BridgeState {
  return { id: 'b', mode, inFlight: 4, slots: 4, pausedBy: [], lagGrowsSince };
}

const judged = (changed: Partial<Measurements>) => judge({ ...healthy, ...changed });
const codesOf = (changed: Partial<Measurements>): string[] =>
  judged(changed).problems.map(({ code }) => code);

test('everything measured and nothing wrong is ok', () => {
  expect(judge(healthy)).toEqual({ verdict: 'ok', problems: [], unmeasured: [] });
});

test('events that are not published are told apart from those of orders that are not decided', () => {
  const outbox = { count: 2, more: false, oldestAt: ago(14) };
  const detailOf = (changed: Partial<Counts>) => judged(counting(changed)).problems[0]?.detail;
  expect(detailOf({ outbox })).toBe('2 events wait, the oldest 14 s, although Kafka answers');
  expect(detailOf({ outbox, orders: { count: 1, more: false, oldestAt: ago(15) } })).toBe(
    '2 events wait, the oldest 14 s, although Kafka answers; those of undecided orders wait for the decision',
  );
});

test('figures that do not add up are a problem, until a verification finds that they do', () => {
  const verification = { finishedAt: ago(60), by: 'ann' };
  const violated = ['money', 'likes'];
  expect(
    judged(counting({ verification: { ...verification, outcome: 'differs', violated } })),
  ).toMatchObject({
    verdict: 'degraded',
    problems: [
      {
        code: 'VERIFICATION_DIFFERS',
        since: ago(60),
        detail: '2 invariants violated: money, likes; verified by ann',
      },
    ],
  });
  expect(
    codesOf(counting({ verification: { ...verification, outcome: 'holds', violated: [] } })),
  ).toEqual([]);
});

test.each(['counts', 'lag', 'processes', 'audit'] as const)(
  'nothing wrong, but no %s measured, is unknown and says why',
  (part) => {
    const { verdict, problems, unmeasured } = judged({ [part]: { unmeasured: 'it hangs' } });
    expect({ verdict, problems }).toEqual({ verdict: 'unknown', problems: [] });
    expect(unmeasured).toEqual([{ what: expect.any(String), reason: 'it hangs' }]);
  },
);

test('a process that nobody could count is unknown, and not missing', () => {
  const { verdict, unmeasured } = judged({
    processes: { value: [{ name: 'bridge', running: undefined }] },
  });
  expect(verdict).toBe('unknown');
  expect(unmeasured).toMatchObject([{ what: 'bridge' }]);
});

test('a server that every request needs makes the system unavailable, and comes first', () => {
  const { verdict, problems } = judged({
    ...counting({ deadLetters: { count: 1, more: false, oldestAt: ago(5) } }),
    ...down('postgres', 60),
  });
  expect(verdict).toBe('unavailable');
  expect(problems.map(({ code }) => code)).toEqual([
    'POSTGRES_UNAVAILABLE',
    'DEAD_LETTERS_WAITING',
  ]);
});

test('Kafka unavailable says that orders are taken, and what waits, once', () => {
  const { verdict, problems } = judged({
    ...counting({ outbox: { count: 14, more: false, oldestAt: ago(48) } }),
    ...down('kafka', 240),
    lag: { unmeasured: 'Kafka is unavailable' },
  });
  expect(verdict).toBe('degraded');
  expect(problems).toEqual([
    {
      code: 'KAFKA_UNAVAILABLE',
      verdict: 'degraded',
      since: ago(240),
      title: 'Kafka unavailable',
      detail: 'orders are taken; 14 events wait, the oldest 48 s',
      runbook: 'OutboxNotPublished',
    },
  ]);
});

test.each<[string, Partial<Measurements>, string[]]>([
  [
    'an event that waits for a moment',
    counting({ outbox: { count: 9, more: false, oldestAt: ago(2) } }),
    [],
  ],
  [
    'an event that is not published',
    counting({ outbox: { count: 1, more: false, oldestAt: ago(10) } }),
    ['EVENTS_NOT_PUBLISHED'],
  ],
  ['an order under way', counting({ orders: { count: 3, more: false, oldestAt: ago(9) } }), []],
  [
    'an order without a decision',
    counting({ orders: { count: 3, more: false, oldestAt: ago(31) } }),
    ['ORDERS_UNDECIDED'],
  ],
  [
    'a dead letter',
    counting({ deadLetters: { count: 1, more: false, oldestAt: ago(1) } }),
    ['DEAD_LETTERS_WAITING'],
  ],
  ['a backlog that is being read', { lag: { value: [lagOf(5_000, 3)] } }, []],
  ['a message that is not committed', { lag: { value: [lagOf(1, 31)] } }, ['COLLECTOR_BEHIND']],
  [
    'a process of which none runs',
    { processes: { value: [{ name: 'worker:commerce', running: 0 }] } },
    ['NO_WORKER_COMMERCE'],
  ],
  [
    'a lag that grows with a workflow for each event',
    counting({ bridges: [bridge('per-event', ago(60))] }),
    ['LAG_GROWS_PER_EVENT'],
  ],
  [
    'a lag that grows with batches',
    counting({ bridges: [bridge('coalesce', ago(60)), bridge('per-event', null)] }),
    [],
  ],
])('%s', (_what, changed, codes) => {
  expect(codesOf(changed)).toEqual(codes);
});

test('the lag tells how much waits, for how long, and what blocks it', () => {
  const [problem] = judged({
    lag: { value: [{ ...lagOf(1_200, 90), heldBackBy: 'open-transaction' }, lagOf(7, 40)] },
  }).problems;
  expect(problem).toMatchObject({
    since: ago(90),
    detail:
      '1,207 messages wait, the oldest 90 s, in 2 partitions; an open transaction blocks order-events/1',
    runbook: 'PartitionHeldBack',
  });
});

describe('what an operator holds', () => {
  const hold = {
    ...{ topic: 'order-events', partition: 1, by: 'ann', reason: 'a bad message' },
    since: ago(60).toISOString(),
  };

  test('is told with who, why and what waits, and does not count as behind', () => {
    const consumption = { holds: [hold], limit: null, topicLimits: [] };
    const judgement = judged({ ...counting({ consumption }), lag: { value: [lagOf(12, 300)] } });
    expect(judgement.problems).toEqual([
      {
        code: 'CONSUMPTION_HELD',
        verdict: 'degraded',
        since: ago(60),
        title: 'Consumption is held',
        detail: 'order-events/1, by ann: a bad message; 12 messages wait',
        runbook: 'ConsumptionHeld',
      },
    ]);
  });

  test('hides nothing of other partitions', () => {
    const consumption = { holds: [{ ...hold, partition: 2 }], limit: null, topicLimits: [] };
    const lag = { value: [lagOf(12, 300)] };
    expect(codesOf({ ...counting({ consumption }), lag })).toEqual([
      'CONSUMPTION_HELD',
      'COLLECTOR_BEHIND',
    ]);
  });

  test('a bound on the rate is told', () => {
    const { by, reason, since } = hold;
    const limit = { messagesPerSecond: 50, by, reason, since };
    const consumption = { holds: [], limit, topicLimits: [] };
    const [problem] = judged(counting({ consumption })).problems;
    expect(problem).toMatchObject({
      code: 'CONSUMPTION_THROTTLED',
      detail: 'at most 50 messages per second, by ann: a bad message',
      runbook: 'ConsumptionHeld',
    });
  });

  test('bounds of topics are told with it, as one problem since the first of them', () => {
    const { by, reason, since } = hold;
    const limit = { messagesPerSecond: 50, by, reason, since };
    const topicLimits = [
      { topic: 'order-events', messagesPerSecond: 1, by, reason, since: at.toISOString() },
    ];
    const { problems } = judged(counting({ consumption: { holds: [], limit, topicLimits } }));
    expect(problems).toMatchObject([
      {
        code: 'CONSUMPTION_THROTTLED',
        since: new Date(since),
        detail:
          'at most 50 messages per second, by ann: a bad message; ' +
          'at most 1 message per second of order-events, by ann: a bad message',
      },
    ]);
  });
});

test('whatever is wrong leads to a section of the runbook', () => {
  const everything = judged({
    ...counting({
      outbox: { count: 1, more: false, oldestAt: ago(90) },
      orders: { count: 1, more: false, oldestAt: ago(90) },
      deadLetters: { count: 1, more: false, oldestAt: ago(90) },
      bridges: [bridge('per-event', ago(60))],
    }),
    servers: ['postgres', 'temporal', 'topics', 'redis'].map((name) => ({
      ...{ name, status: 'down', required: false, downSince: ago(1) },
    })),
    lag: { value: [lagOf(5, 90), { ...lagOf(5, 90), heldBackBy: 'open-transaction' }] },
    processes: { value: [{ name: 'bridge', running: 0 }] },
    audit: { value: { ...lastAudit, findings: { unhandled: 1 } } },
  }).problems;
  const sections = [...judged(down('kafka', 1)).problems, ...everything].map(
    ({ runbook }) => runbook,
  );
  const runbook = readFileSync(path.join(__dirname, '../../../docs/runbook.md'), 'utf8');
  expect(sections).toHaveLength(12);
  expect(sections.filter((section) => !runbook.includes(`### ${section}\n`))).toEqual([]);
});

describe('the delivery audit', () => {
  const audited = (changed: Partial<LastAudit>): Partial<Measurements> => ({
    audit: { value: { ...lastAudit, ...changed } },
  });

  test.each<[string, Partial<LastAudit>, string[]]>([
    ['that is late by more than it may take', { startedAt: ago(181) }, ['AUDIT_OVERDUE']],
    ['that failed', { failure: 'unconfirmed events: Kafka' }, ['AUDIT_INCOMPLETE']],
    ['that found something', { findings: { republished: 2 } }, ['AUDIT_FINDINGS']],
  ])('%s', (_what, changed, codes) => {
    expect(codesOf(audited(changed))).toEqual(codes);
  });

  test('tells what it found, by kind', () => {
    const [problem] = judged(audited({ findings: { republished: 2, unhandled: 1 } })).problems;
    expect(problem?.detail).toBe('2 republished, 1 unhandled; it mends what it can');
  });

  test.each([
    ['that has not run yet', { value: undefined }, 'none has ended yet'],
    ['that is paused', audited({ everyMs: undefined }).audit, 'its schedule is paused'],
  ])('%s leaves the state unknown', (_what, audit, reason) => {
    const { verdict, unmeasured } = judged({ audit: audit! });
    expect({ verdict, unmeasured }).toEqual({
      verdict: 'unknown',
      unmeasured: [{ what: 'delivery audit', reason }],
    });
  });
});

test('what waits beyond the bound of the count is told as more', () => {
  const [problem] = judged(
    counting({ outbox: { count: 10_000, more: true, oldestAt: ago(90) } }),
  ).problems;
  expect(problem?.detail).toMatch(/^10,000\+ events wait, the oldest 90 s/);
});
