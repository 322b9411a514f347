/** How many changes are accepted at once, against a simulated shop that decides them one after the other. */
import fc from 'fast-check';
import { createChangePlaces, type ChangePlaces } from '../../api/http/change-places';

const most = 128;
const expiresAfterMs = 5_000;

let now = 0;
const lines: unknown[] = [];
const note = (...[, text]: readonly unknown[]): void => void lines.push(text);
const logger = { warn: note, info: note };

beforeEach(() => {
  now = 0;
  lines.length = 0;
});

const create = (): ChangePlaces => createChangePlaces({ most, logger, now: () => now });

interface Shop {
  readonly decidedPerSecond: number;
  readonly askedPerSecond: number;
}

interface Answers {
  readonly decided: number;
  readonly longestMs: number;
}

/** Asks and decides at even intervals, first come, first served, from one time to another. */
function run(places: ChangePlaces, waiting: number[], shop: Shop, until: number): Answers {
  let decided = 0;
  let longestMs = 0;
  let nextAsk = now;
  let nextDecision = now + 1_000 / shop.decidedPerSecond;
  while (now < until) {
    if (nextAsk <= nextDecision) {
      now = nextAsk;
      if (waiting.length < places.count) waiting.push(now);
      nextAsk += 1_000 / shop.askedPerSecond;
    } else {
      now = nextDecision;
      const beganAt = waiting.shift();
      if (beganAt !== undefined) {
        places.decided(beganAt);
        decided += 1;
        longestMs = Math.max(longestMs, now - beganAt);
      }
      nextDecision += 1_000 / shop.decidedPerSecond;
    }
  }
  return { decided, longestMs };
}

test('whatever the shop can do, what is accepted is decided before it expires, and nobody is idle', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 5, max: 500, noNaN: true }),
      fc.double({ min: 1.2, max: 10, noNaN: true }),
      (decidedPerSecond, times) => {
        now = 0;
        const places = create();
        const waiting: number[] = [];
        const shop = { decidedPerSecond, askedPerSecond: decidedPerSecond * times };
        // All places are taken by then, and those of the first moment are decided.
        run(places, waiting, shop, 60_000);

        const { decided, longestMs } = run(places, waiting, shop, 120_000);

        expect(longestMs).toBeLessThan(expiresAfterMs);
        expect(decided / 60).toBeGreaterThan(decidedPerSecond * 0.95);
      },
    ),
  );
});

test('a shop that becomes slower and recovers has as many places as before, and says both', () => {
  const places = create();
  const waiting: number[] = [];
  run(places, waiting, { decidedPerSecond: 20, askedPerSecond: 60 }, 30_000);
  expect(places.count).toBeLessThan(most / 2);

  run(places, waiting, { decidedPerSecond: 200, askedPerSecond: 60 }, 60_000);

  expect(places.count).toBe(most);
  expect(lines).toEqual([
    'changes wait too long for a worker; fewer are accepted at once',
    'changes no longer wait; as many as configured are accepted at once',
  ]);
});

test('some that wait for something of their own keep nobody else out', () => {
  const places = create();
  for (let second = 1; second <= 60; second += 1) {
    now = second * 1_000;
    // One of three waits for a lock.
    for (const waitedMs of [3_000, 100, 100]) places.decided(now - waitedMs);
  }

  expect(places.count).toBe(most);
});

test('a configured number below what keeps workers busy stays as it is', () => {
  const places = createChangePlaces({ most: 2, logger, now: () => now });
  for (let second = 1; second <= 60; second += 1) {
    now = second * 10_000;
    places.decided(now - 9_000);
  }

  expect(places.count).toBe(2);
});
