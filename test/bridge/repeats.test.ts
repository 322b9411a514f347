import { createRepeatCounter } from '../../bridge/repeats';
import { createLogger } from '../../platform/observability/logger';
import type { Queryable } from '../../platform/postgres/pool';

const logger = createLogger('test', 'silent');
const repeat = { eventId: 'event-1', topic: 'order-events', partition: 3, offset: 7 };

test('a batch without repeats costs no statement, and one with repeats one', async () => {
  const query = jest.fn(async () => ({ rows: [] }));
  const counter = createRepeatCounter({ query } as unknown as Queryable, logger);

  await counter.count([]);
  expect(query).not.toHaveBeenCalled();

  await counter.count([repeat, { ...repeat, offset: 8 }]);
  expect(query).toHaveBeenCalledTimes(1);
});

test('a database that is away holds up nothing', async () => {
  const query = () => Promise.reject(new Error('away'));
  const counter = createRepeatCounter({ query }, logger);

  await expect(counter.count([repeat])).resolves.toBeUndefined();
});
