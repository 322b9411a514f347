import { createOutagePacing } from '../../activities/outage-pacing';

function pacing() {
  const clock = { ms: 1_000_000 };
  const options = { triesPerSecond: 10, shortestMs: 1_000, longestMs: 16_000 };
  return { clock, ...createOutagePacing({ ...options, now: () => clock.ms }) };
}

it('a few that wait try again after about a second, however long the outage lasts', () => {
  const { clock, refused } = pacing();
  for (let second = 0; second < 100; second += 1) {
    clock.ms += 1_000;
    for (let waiting = 0; waiting < 5; waiting += 1) expect(refused()).toBeLessThanOrEqual(1_000);
  }
});

it('a thousand that wait do not try more often than every eight seconds, and at least every sixteen', () => {
  const { clock, refused } = pacing();
  let delays: number[] = [];
  for (let second = 0; second < 20; second += 1) {
    clock.ms += 1_000;
    delays = Array.from({ length: 50 }, refused);
  }
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(8_000);
  expect(Math.max(...delays)).toBeLessThanOrEqual(16_000);
});

it('the next outage begins with short waits again', () => {
  const { clock, refused, succeeded } = pacing();
  for (let count = 0; count < 1_000; count += 1) refused();
  clock.ms += 1_000;
  succeeded();
  expect(refused()).toBeLessThanOrEqual(1_000);
});

it('what succeeds during a partial outage does not shorten the waits of the others', () => {
  const { clock, refused, succeeded } = pacing();
  let delays: number[] = [];
  for (let tenth = 0; tenth < 200; tenth += 1) {
    clock.ms += 100;
    succeeded();
    delays = Array.from({ length: 5 }, refused);
  }
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(8_000);
});
