/** How many changes are accepted at once, against a simulated shop. */
import fc from 'fast-check';
import { createChangePlaces, type ChangePlaces } from '../../api/http/change-places';

const most = 128;
const expireAfterMs = 5_000;
const undecidedAfterMs = 10_000;

let now = 0;
const lines: unknown[] = [];
const note = (...[, text]: readonly unknown[]): void => void lines.push(text);
const logger = { warn: note, info: note };

beforeEach(() => {
  now = 0;
  lines.length = 0;
});

const create = (): ChangePlaces => createChangePlaces({ most, logger, now: () => now });

interface Load {
  /** What workers can begin in a second. An expired change takes half of one that is decided. */
  readonly begunPerSecond: number;
  /** How long a change takes once it is begun, beside others. */
  readonly takesMs: number;
  readonly askedPerSecond: number;
}

/** Changes are begun first come, first served; who asks while all places are taken is refused. */
class SimulatedShop {
  decided = 0;
  expired = 0;
  slowestMs = 0;
  /** Accepted and not begun, by the time when they were accepted; whoever has given up is still among them. */
  private readonly waiting: { readonly beganAt: number; isUndecided: boolean }[] = [];
  /** Begun and not answered, in the order of their answers. */
  private readonly answers: { readonly at: number; readonly beganAt: number }[] = [];

  constructor(private readonly places: ChangePlaces) {}

  run(load: Load, forMs: number): void {
    const until = now + forMs;
    let nextAsk = now;
    let nextBegin = now;
    while (now < until) {
      now = Math.min(nextAsk, nextBegin, this.answers[0]?.at ?? Infinity);
      this.answerThoseDue();
      if (now === nextAsk) {
        if (this.underWay() < this.places.count) {
          this.waiting.push({ beganAt: now, isUndecided: false });
        }
        nextAsk += 1_000 / load.askedPerSecond;
      }
      if (now === nextBegin) nextBegin += this.begin(load);
    }
  }

  private underWay(): number {
    return this.waiting.filter(({ isUndecided }) => !isUndecided).length + this.answers.length;
  }

  private answerThoseDue(): void {
    while (this.answers.length > 0 && this.answers[0]!.at <= now) {
      this.places.answered(this.answers.shift()!.beganAt);
    }
    for (const change of this.waiting) {
      if (change.isUndecided || now - change.beganAt < undecidedAfterMs) continue;
      change.isUndecided = true;
      this.places.answered(change.beganAt);
    }
  }

  /** @returns how long the worker needs until it can begin the next */
  private begin({ begunPerSecond, takesMs }: Load): number {
    const change = this.waiting.shift();
    const isExpired = change !== undefined && now - change.beganAt > expireAfterMs;
    if (change !== undefined && !isExpired) {
      this.decided += 1;
      this.slowestMs = Math.max(this.slowestMs, now + takesMs - change.beganAt);
      this.answers.push({ at: now + takesMs, beganAt: change.beganAt });
    } else if (isExpired) {
      this.expired += 1;
      if (!change.isUndecided) this.answers.push({ at: now, beganAt: change.beganAt });
      this.answers.sort((one, other) => one.at - other.at);
    }
    return (isExpired ? 500 : 1_000) / begunPerSecond;
  }
}

test('whatever the shop can do, what is accepted is decided before it expires, and nobody is idle', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 4, max: 200, noNaN: true }),
      fc.double({ min: 1.2, max: 10, noNaN: true }),
      (begunPerSecond, times) => {
        now = 0;
        const shop = new SimulatedShop(create());
        const load = { begunPerSecond, takesMs: 400, askedPerSecond: begunPerSecond * times };
        // All places are taken at once, and those are decided or have expired by then.
        shop.run(load, 60_000);
        const { decided, expired } = shop;
        shop.slowestMs = 0;

        shop.run(load, 60_000);

        expect(shop.expired - expired).toBe(0);
        expect(shop.slowestMs).toBeLessThan(expireAfterMs);
        expect((shop.decided - decided) / 60).toBeGreaterThan(begunPerSecond * 0.95);
      },
    ),
    { numRuns: 50 },
  );
});

test('a shop that becomes faster again has as many places as before within seconds, and says both', () => {
  const places = create();
  const shop = new SimulatedShop(places);
  const seen: number[] = [];
  for (let second = 1; second <= 60; second += 1) {
    shop.run({ begunPerSecond: 20, takesMs: 400, askedPerSecond: 60 }, 1_000);
    seen.push(places.count);
  }
  // What is begun in 1.6 s, and not less while those of before are worked off.
  expect(places.count).toBeLessThan(60);
  expect(Math.min(...seen)).toBeGreaterThan(24);

  shop.run({ begunPerSecond: 200, takesMs: 400, askedPerSecond: 60 }, 15_000);

  expect(places.count).toBe(most);
  expect(lines).toEqual([
    'changes take too long; fewer are accepted at once',
    'as many changes as configured are accepted at once again',
  ]);
});

test('a shop that can do nothing and comes back is not remembered for long, though only orders come', () => {
  const places = create();
  const shop = new SimulatedShop(places);
  shop.run({ begunPerSecond: 0.1, takesMs: 400, askedPerSecond: 60 }, 60_000);
  expect(places.count).toBe(16);

  // Nobody tells of an order.
  now += 16_000;

  expect(places.count).toBe(most);
  expect(lines).toHaveLength(2);
});

test('some that wait for something of their own keep nobody else out', () => {
  const places = create();
  for (let second = 1; second <= 60; second += 1) {
    now = second * 1_000;
    // One of three waits for a lock, and is the first of its second.
    for (const takenMs of [4_000, 100, 100]) places.answered(now - takenMs);
    expect(places.count).toBe(most);
  }
  expect(lines).toEqual([]);
});

test('a few slow ones, one after the other, are no reason to refuse others', () => {
  const places = create();
  for (let times = 1; times <= 3; times += 1) {
    now = times * 5_000;
    places.answered(now - 4_900);
  }

  expect(places.count).toBe(most);
});

test('a few slow ones of a quiet hour are forgotten when others are decided soon', () => {
  const places = create();
  for (const takenMs of [9_000, 9_000, 9_000]) places.answered(now - takenMs);
  now += 20_000;
  for (const takenMs of [100, 100]) places.answered(now - takenMs);
  now += 2_000;
  places.answered(now - 100);

  expect(places.count).toBe(most);
});

test('workers that come back find places that rise, while the traffic goes on', () => {
  const places = create();
  const shop = new SimulatedShop(places);
  shop.run({ begunPerSecond: 0.1, takesMs: 400, askedPerSecond: 40 }, 60_000);
  expect(places.count).toBe(16);

  shop.run({ begunPerSecond: 100, takesMs: 400, askedPerSecond: 40 }, 20_000);

  expect(places.count).toBe(most);
});

test('operators keep their share however few places there are', () => {
  const places = create();
  expect(places.keptForOperators).toBe(16);

  new SimulatedShop(places).run({ begunPerSecond: 4, takesMs: 400, askedPerSecond: 60 }, 60_000);

  expect(places.count).toBe(16);
  expect(places.keptForOperators).toBe(16);
});

test('a configured number below what keeps workers busy stays as it is', () => {
  const places = createChangePlaces({ most: 2, logger, now: () => now });
  for (let second = 1; second <= 60; second += 1) {
    now = second * 10_000;
    places.answered(now - 9_000);
  }

  expect(places.count).toBe(2);
});
