import { createEventRates } from '../../../api/dashboard/client/event-rates';

const now = 1_000_000_000;
const none = { events: 0, medianMs: null, p95Ms: null };

test('an event counts in the stretch in which it was handled', () => {
  const rates = createEventRates();
  for (const latency of [10, 20, 40]) rates.add(now - 3_000, latency);
  rates.add(now - 6_500, 100);
  expect(rates.list(now).slice(-4)).toEqual([
    { at: now - 8_000, events: 1, medianMs: 100, p95Ms: 100 },
    { at: now - 6_000, ...none },
    { at: now - 4_000, events: 3, medianMs: 20, p95Ms: 38 },
    { at: now - 2_000, ...none },
  ]);
});

test('what the server has counted replaces what was counted here, but for the stretch that goes on', () => {
  const rates = createEventRates();
  rates.add(now - 5_000, 10);
  rates.add(now - 500, 10);
  rates.replace(
    [
      { at: now - 6_000, events: 7, medianMs: 5, p95Ms: 9 },
      { at: now - 4_000, events: 2, medianMs: 5, p95Ms: 9 },
      { at: now - 2_000, events: 50, medianMs: 5, p95Ms: 9 },
    ],
    2_000,
  );
  // The stream brings again what the server has counted already.
  rates.add(now - 3_500, 10);
  expect(rates.list(now).slice(-3)).toMatchObject([{ events: 7 }, { events: 2 }, { events: 1 }]);
});

test('a longer time is summed up, with its worst 95th percentile', () => {
  const rates = createEventRates();
  for (let second = 0; second < 20; second += 2) rates.add(now - 1_000 - second * 1_000, second);
  expect(rates.summarize(now, 10_000)).toEqual({
    events: 5,
    perSecond: 0.5,
    medianMs: 4,
    p95Ms: 8,
  });
  expect(createEventRates().summarize(now, 10_000)).toEqual({ ...none, perSecond: 0 });
});

test('while nothing is streamed, what nobody has counted is unknown, and not 0', () => {
  const rates = createEventRates();
  rates.add(now - 7_000, 10);
  rates.interrupt(now - 5_000);
  expect(rates.list(now).slice(-4)).toMatchObject([
    { events: 1 },
    { events: null, medianMs: null, p95Ms: null },
    { events: null },
    { events: null },
  ]);
  rates.replace(
    [
      { at: now - 6_000, events: 7, medianMs: 5, p95Ms: 9 },
      { at: now - 4_000, events: 2, medianMs: 5, p95Ms: 9 },
    ],
    2_000,
  );
  expect(rates.list(now).slice(-3)).toMatchObject([{ events: 7 }, { events: null }, {}]);
  rates.resume();
  expect(rates.list(now).slice(-1)).toEqual([{ at: now - 2_000, ...none }]);
});
