import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLinkedSignal } from '../../platform/process/abort';

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

let warnings: Error[];
const onWarning = (warning: Error) => warnings.push(warning);

beforeEach(() => {
  warnings = [];
  process.on('warning', onWarning);
});

afterEach(async () => {
  // Node.js emits them on the next tick.
  await sleep(0);
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});

test('works are aborted with their parent, for its reason, and not with each other', async () => {
  const parent = new AbortController();
  const ended: unknown[] = [];
  const works = [1, 2].map((number) =>
    withLinkedSignal(parent.signal, async (linked) => {
      if (number === 1) linked.abort('of its own');
      else await new Promise((resolve) => linked.signal.addEventListener('abort', resolve));
      ended.push(linked.signal.reason);
    }),
  );
  await works[0];
  expect(ended).toEqual(['of its own']);
  expect(parent.signal.aborted).toBe(false);
  parent.abort('the end');
  await works[1];
  expect(ended).toEqual(['of its own', 'the end']);
});

test('a work under an aborted parent begins aborted', async () => {
  const reason = await withLinkedSignal(AbortSignal.abort('over'), async ({ signal }) => {
    expect(signal.aborted).toBe(true);
    return signal.reason as unknown;
  });
  expect(reason).toBe('over');
});

test('whatever the outcome of the work, nothing of it stays in the parent signal', async () => {
  const { signal } = new AbortController();
  for (let round = 0; round < 50; round += 1) {
    await withLinkedSignal(signal, async () => expect(listenersOf(signal)).toBe(1));
    const failed = withLinkedSignal(signal, () => Promise.reject(new Error('no')));
    await expect(failed).rejects.toThrow('no');
    expect(listenersOf(signal)).toBe(0);
  }
});

test('many works at once, with many who wait in each, are no leak', async () => {
  const parent = new AbortController();
  const works = Array.from({ length: 30 }, () =>
    withLinkedSignal(parent.signal, async ({ signal }) => {
      const waits = Array.from({ length: 30 }, () => sleep(60_000, undefined, { signal }));
      await Promise.allSettled(waits);
    }),
  );
  expect(listenersOf(parent.signal)).toBe(1);
  parent.abort();
  await Promise.all(works);
  expect(listenersOf(parent.signal)).toBe(0);
});
