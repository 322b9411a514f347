import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { shareNextReading, shareReading } from '../../platform/process/shared-reading';

test('who asks while it is read, or shortly after, gets the same answer', async () => {
  let reads = 0;
  const read = shareReading(1_000, async () => {
    reads += 1;
    await sleep(5);
    return reads;
  });
  expect(await Promise.all([read(), read(), read()])).toEqual([1, 1, 1]);
  expect(await read()).toBe(1);
});

test('an expired answer is read again', async () => {
  let reads = 0;
  const read = shareReading(0, async () => (reads += 1));
  expect([await read(), await read()]).toEqual([1, 2]);
});

test('a failure goes to the callers that wait for it, and to none after', async () => {
  let reads = 0;
  const read = shareReading(1_000, async () => {
    reads += 1;
    if (reads === 1) throw new Error('away');
    return reads;
  });
  const [one, other] = await Promise.allSettled([read(), read()]);
  expect([one.status, other.status]).toEqual(['rejected', 'rejected']);
  expect(await read()).toBe(2);
});

describe('callers of one key share the next read', () => {
  test('of those that ask during a read all get the one after it, however many', async () => {
    let reads = 0;
    const read = shareNextReading(async (_key: string, of: string) => {
      reads += 1;
      await sleep(5);
      return `${reads} ${of}`;
    });
    const answers = [read('a', 'one'), read('a', 'two'), read('a', 'three')];
    expect(await Promise.all(answers)).toEqual(['1 one', '2 three', '2 three']);
    expect(await read('a', 'four')).toBe('3 four');
  });

  test('an argument that one of them lacks is that of another', async () => {
    const read = shareNextReading(async (_key: string, of: string | undefined) => {
      await sleep(1);
      return of;
    });
    const answers = [read('a', 'one'), read('a', 'two'), read('a', undefined)];
    expect(await Promise.all(answers)).toEqual(['one', 'two', 'two']);
  });

  test('a failure goes to those that share the read, and the next is made all the same', async () => {
    let reads = 0;
    const read = shareNextReading(async () => {
      reads += 1;
      await sleep(1);
      if (reads < 3) throw new Error(`away ${reads}`);
      return reads;
    });
    const first = read('a', undefined);
    const sharing = [read('a', undefined), read('a', undefined)];
    await expect(first).rejects.toThrow('away 1');
    for (const each of sharing) await expect(each).rejects.toThrow('away 2');
    expect(await read('a', undefined)).toBe(3);
  });

  test('whenever they ask, each gets a read that began after it asked, and no two of a key run at once', async () => {
    const calls = fc.array(
      fc.record({ key: fc.constantFrom('a', 'b'), atMs: fc.nat({ max: 12 }) }),
      {
        minLength: 1,
        maxLength: 30,
      },
    );
    await fc.assert(
      fc.asyncProperty(calls, async (asked) => {
        let clock = 0;
        const running = new Set<string>();
        const read = shareNextReading(async (key: string, _of: number) => {
          expect(running.has(key)).toBe(false);
          running.add(key);
          const begunAt = (clock += 1);
          await sleep(2);
          running.delete(key);
          return { key, begunAt };
        });
        await Promise.all(
          asked.map(async ({ key, atMs }) => {
            await sleep(atMs);
            const askedAt = (clock += 1);
            const answer = await read(key, askedAt);
            expect(answer.key).toBe(key);
            expect(answer.begunAt).toBeGreaterThan(askedAt);
          }),
        );
      }),
      { numRuns: 30 },
    );
  });
});
