/** The load of the benchmarks at steady rates. */
import { assertKept, LoadNotKeptError, sendAtRate } from '../../bench/open-loop';

test('what is due is sent while nothing before it is answered', async () => {
  const answers: (() => void)[] = [];
  const dueTimes: number[] = [];
  const { from, to } = await sendAtRate({ perSecond: 100, count: 10 }, (due) => {
    dueTimes.push(...due);
    const answered = new Promise<void>((resolve) => answers.push(resolve));
    // The first answer comes only once the last event has been sent.
    if (dueTimes.length === 10) for (const answer of answers) answer();
    return answered;
  });
  expect(dueTimes.map((time) => time - from)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
  expect(to - from).toBe(100);
});

test('an event has the time at which it was due, however late it is sent', async () => {
  const sent: { dueAt: number; at: number }[] = [];
  const { from, delayMs } = await sendAtRate({ perSecond: 1_000, count: 100 }, async (due) => {
    sent.push(...due.map((dueAt) => ({ dueAt, at: Date.now() })));
    if (sent.length === due.length) blockFor(50);
    await Promise.resolve();
  });
  expect(sent.map(({ dueAt }) => dueAt - from)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(sent.every(({ dueAt, at }) => at >= dueAt)).toBe(true);
  expect(delayMs.p99).toBeGreaterThanOrEqual(40);
});

test('a sender that falls behind says so instead of having measured something', async () => {
  const late = await sendAtRate({ perSecond: 100, count: 30 }, async () => {
    blockFor(150);
    await Promise.resolve();
  });
  expect(() => assertKept(late, 100)).toThrow(LoadNotKeptError);
});

test('a few events that are late do not make another rate', () => {
  expect(() => assertKept({ delayMs: { p95: 20, p99: 300 } }, 100)).not.toThrow();
});

test('a send that fails is thrown once the rest is sent', async () => {
  let sent = 0;
  const sending = sendAtRate({ perSecond: 200, count: 10 }, async (due) => {
    sent += due.length;
    if (sent === due.length) throw new Error('refused');
    await Promise.resolve();
  });
  await expect(sending).rejects.toThrow('refused');
  expect(sent).toBe(10);
});

/** As a process does that gets no processor time. */
function blockFor(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
