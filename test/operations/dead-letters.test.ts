import type { Client } from '@temporalio/client';
import { createDeadLetterOperations } from '../../operations/dead-letters';
import type { Queryable } from '../../platform/postgres/pool';

/** Parked dead letters, each of which a worker has begun with and does not end. */
function createHangingOperations(count: number) {
  const matching = Array.from({ length: count }, (_, id) => ({ id, matched: count }));
  const state = { status: 'parked', attempt: 0, last_offset: null };
  const query = async ({ text }: { readonly text: string }) => ({
    rows: text.includes('matched') ? matching : [state],
  });
  const withDeadline = jest.fn(() => new Promise(() => undefined));
  const operations = createDeadLetterOperations(
    {
      database: { query } as unknown as Queryable,
      temporal: { withDeadline } as unknown as Client,
    },
    { matchingTimeoutMs: 15_000 },
  );
  return { operations, begun: withDeadline };
}

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test.each(['redriveMatching', 'discardMatching'] as const)(
  'what a %s has not ended in time is left, and no further one is begun',
  async (name) => {
    const { operations, begun } = createHangingOperations(200);
    const options = { by: 'ann', reason: 'test messages' };
    const ended = operations[name]({ producer: '/till' }, 200, options);
    await jest.advanceTimersByTimeAsync(15_000);
    await expect(ended).resolves.toMatchObject({ kind: 'done', matched: 200, left: 200 });
    expect(begun).toHaveBeenCalledTimes(16);
  },
);
