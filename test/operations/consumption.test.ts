import { createConsumptionOperations } from '../../operations/consumption';

test('of two operators who bound the rate at once, the second one follows the first', async () => {
  const rates: unknown[] = [];
  const query = async ({ values }: { values: unknown[] }) => {
    rates.push(values[0]);
    // The bound of the other one was not there yet when the statement began.
    if (rates.length === 1) throw Object.assign(new Error('duplicate key'), { code: '23505' });
    return { rows: [] };
  };

  const bound = { topic: null, messagesPerSecond: 50 };
  await createConsumptionOperations({ query } as never).throttle(bound, {
    by: 'ann',
    reason: 'slow',
  });

  expect(rates).toEqual([50, 50]);
});
