import { watchConsumptionHolds } from '../../bridge/consumption-holds';
import { createLogger } from '../../platform/observability/logger';
import type { Queryable } from '../../platform/postgres/pool';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');
const hold = { topic: 'order-events', partition: null, by: 'ann', reason: 'a test' };
const place = { topic: 'order-events', partition: 3 };
const { signal } = new AbortController();

function watch(read: () => Promise<object>) {
  const query = async () => ({ rows: [await read()] });
  const database = { query } as unknown as Queryable;
  return watchConsumptionHolds({ database, logger }, { intervalMs: 1 });
}

test('what is held is known, each change is told, and an outage changes nothing', async () => {
  const limits = [{ topic: null, messagesPerSecond: 5 }];
  let read = async (): Promise<object> => ({ holds: [hold], limits });
  let reads = 0;
  let changes = 0;
  const holds = watch(() => {
    reads += 1;
    return read();
  });
  holds.onChange(() => (changes += 1), signal);
  try {
    await holds.untilKnown(signal);
    expect({ held: holds.isHeld(place), limit: holds.limit(null) }).toEqual({
      held: true,
      limit: 5,
    });

    read = () => Promise.reject(new Error('PostgreSQL is away'));
    const readsBefore = reads;
    await until('it was tried again', () => reads > readsBefore + 3);
    expect({ held: holds.isHeld(place), limit: holds.limit(null) }).toEqual({
      held: true,
      limit: 5,
    });

    read = async () => ({ holds: [], limits: [{ topic: place.topic, messagesPerSecond: 2 }] });
    await until('it is resumed', () => !holds.isHeld(place));
    expect({ limit: holds.limit(null), changes }).toEqual({ limit: undefined, changes: 2 });
    expect(['order-events', 'catalog-events'].map(holds.limit)).toEqual([2, undefined]);

    // Who waits for its time under the bound has to ask again.
    read = async () => ({ holds: [], limits: [] });
    await until('the bound is lifted', () => holds.limit('order-events') === undefined);
    expect(changes).toBe(3);
  } finally {
    await holds.stop();
  }
});

test('before it was read for the first time, nothing is known', async () => {
  let answer: (row: object) => void = () => undefined;
  const holds = watch(() => new Promise((resolve) => (answer = resolve)));
  const stopping = new AbortController();
  const stopped = holds.untilKnown(stopping.signal);
  stopping.abort(new Error('stopping'));
  await expect(stopped).rejects.toThrow('stopping');
  const known = holds.untilKnown(signal);
  answer({ holds: [], limits: [] });
  await known;
  await holds.stop();
});
