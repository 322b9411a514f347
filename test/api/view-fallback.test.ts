/** Views that Kafka does not take are handed over together, and stay within every bound. */
import { pino } from 'pino';
import { createViewFallback, type StartedPublication } from '../../api/products/view-fallback';
import type { ViewEvent } from '../../api/products/view-publisher';
import { createEvent } from '../../events/envelope';
import { until } from '../../testkit/until';

let lines: { msg: string; dropped?: number }[];
let started: string[][];
let finish: (() => void)[];
let failures: number;

beforeEach(() => {
  lines = [];
  started = [];
  finish = [];
  failures = 0;
});

const logger = pino(
  { level: 'warn' },
  { write: (line: string) => void lines.push(JSON.parse(line)) },
);

async function startPublication(views: readonly ViewEvent[]): Promise<StartedPublication> {
  await new Promise(setImmediate);
  if (failures > 0) {
    failures -= 1;
    throw new Error('Temporal is away');
  }
  started.push(views.map(({ id }) => id));
  return { finished: new Promise((resolve) => finish.push(resolve)) };
}

function createFallback(bounds: Parameters<typeof createViewFallback>[1] = {}) {
  const options = { gatherMs: 5, retryMs: 5, ...bounds };
  return createViewFallback({ startPublication, logger }, options);
}

function views(count: number): ViewEvent[] {
  return Array.from({ length: count }, (_, index) =>
    createEvent({
      id: `view-${index}`,
      type: 'ProductViewed',
      time: new Date(0),
      data: { productId: 'tea' },
    }),
  );
}

const idsOf = (events: readonly ViewEvent[]) => events.map(({ id }) => id);
const countStarted = () => started.flat().length;

test('views of one moment go together, at most 500 of them, in their order', async () => {
  const fallback = createFallback();
  const taken = views(1_200);
  for (const view of taken) fallback.take(view);
  await until('all are handed over', () => countStarted() === 1_200);
  expect(started.map(({ length }) => length)).toEqual([500, 500, 200]);
  expect(started.flat()).toEqual(idsOf(taken));
});

test('while Temporal is unavailable, too, the same views are retried, and none is lost', async () => {
  const fallback = createFallback();
  failures = 3;
  const taken = views(3);
  fallback.take(taken[0]!);
  fallback.take(taken[1]!);
  await until('it was tried', () => failures < 3);
  fallback.take(taken[2]!);
  await until('all are handed over', () => countStarted() === 3);
  expect(started).toEqual([idsOf(taken.slice(0, 2)), ['view-2']]);
});

test('while as many publications as allowed are unfinished, views wait', async () => {
  const fallback = createFallback({ maxUnfinished: 2 });
  for (const view of views(1_500)) fallback.take(view);
  await until('two are started', () => started.length === 2);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(started).toHaveLength(2);
  finish[0]!();
  await until('the third is started', () => started.length === 3);
});

test('views beyond the limit are dropped, counted, and logged at most once a second', async () => {
  const fallback = createFallback({ maxWaiting: 10 });
  for (const view of views(100)) fallback.take(view);
  await until('the first ten are handed over', () => countStarted() === 10);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ dropped: 1 });
});

test('stopping hands over at once what waits, whatever is unfinished', async () => {
  const fallback = createFallback({ gatherMs: 60_000, maxUnfinished: 0 });
  for (const view of views(700)) fallback.take(view);
  await fallback.stop();
  expect(countStarted()).toBe(700);
});

test('stopping while Temporal is unavailable ends, and logs how many views are lost', async () => {
  const fallback = createFallback({ gatherMs: 60_000 });
  failures = 1_000;
  for (const view of views(700)) fallback.take(view);
  await fallback.stop();
  expect(lines.at(-1)).toMatchObject({ dropped: 700 });
});
