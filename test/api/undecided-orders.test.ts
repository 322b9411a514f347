import { createOrderBound, type OrderBound } from '../../api/orders/undecided-orders';

/** A shop in which orders stay undecided until they are told. */
function createShop(
  most: number | undefined,
  stored: string[] = [],
  { answered = [], running = [] }: { answered?: string[]; running?: string[] } = {},
) {
  const decide = new Map<string, (outcome: { kind: string }) => void>();
  const orders = {
    findUndecided: async () => stored,
    findAnswered: async (asked: readonly string[]) =>
      asked.filter((orderId) => [...stored, ...answered].includes(orderId)),
    findRunningOrder: async (orderId: string) => (running.includes(orderId) ? {} : undefined),
  };
  const bound: OrderBound = createOrderBound(orders, most);
  return {
    place: (orderId: string, userId = 'ann') =>
      bound.within(
        userId,
        orderId,
        () => new Promise<{ kind: string }>((done) => decide.set(orderId, done)),
      ),
    placing: () => [...decide.keys()],
    decide: (orderId: string, kind = 'confirmed') => decide.get(orderId)!({ kind }),
  };
}

const refusal = { code: 'TOO_MANY_ORDERS', status: 429, headers: { 'retry-after': '1' } };

/** Lets what is not waiting for a decision come to its end. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a user has at most so many undecided orders at once, and another one once one is decided', async () => {
  const shop = createShop(2);
  const first = shop.place('a');
  void shop.place('b');
  await expect(shop.place('c')).rejects.toMatchObject(refusal);
  void shop.place('d', 'bob');
  await settle();
  expect(shop.placing()).toEqual(['a', 'b', 'd']);
  shop.decide('a');
  await first;
  void shop.place('c');
  await settle();
  expect(shop.placing()).toContain('c');
});

test('what the database has counts, and an order that is in both counts once', async () => {
  const stored = ['x', 'a'];
  const shop = createShop(3, stored);
  void shop.place('a');
  void shop.place('b');
  await expect(shop.place('c')).rejects.toMatchObject(refusal);
  await settle();
  expect(shop.placing()).toEqual(['a', 'b']);
});

test('an undecided order may be asked for again, however many there are', async () => {
  const shop = createShop(2, ['a', 'b']);
  void shop.place('b');
  void shop.place('a');
  await settle();
  expect(shop.placing()).toEqual(['b', 'a']);
});

test.each([
  ['is decided', { answered: ['a'] }],
  ['has a workflow and is not stored yet', { running: ['a'] }],
])(
  'an order that %s may be asked for again, although its user has as many others',
  async (_, at) => {
    const shop = createShop(1, ['x'], at);
    void shop.place('a');
    await settle();
    expect(shop.placing()).toEqual(['a']);
  },
);

describe('an order that was answered before it was stored', () => {
  afterEach(() => jest.useRealTimers());

  async function createShopAfterAnswer(stored: string[] = [], answered: string[] = []) {
    const shop = createShop(1, stored, { answered });
    const placing = shop.place('a');
    await settle();
    shop.decide('a', 'undecided');
    await placing;
    return shop;
  }

  test('counts, and may be asked for again', async () => {
    const shop = await createShopAfterAnswer();
    await expect(shop.place('b')).rejects.toMatchObject(refusal);
    void shop.place('a');
    await settle();
    shop.decide('a');
    await settle();
    void shop.place('b');
    await settle();
    expect(shop.placing()).toContain('b');
  });

  test('counts no longer once it is seen decided', async () => {
    const answered: string[] = [];
    const shop = await createShopAfterAnswer([], answered);
    answered.push('a');
    void shop.place('b');
    await settle();
    expect(shop.placing()).toContain('b');
  });

  test('counts for five minutes at most', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick'] });
    const shop = await createShopAfterAnswer();
    jest.advanceTimersByTime(5 * 60_000 - 1);
    await expect(shop.place('b')).rejects.toMatchObject(refusal);
    jest.advanceTimersByTime(1);
    void shop.place('b');
    await settle();
    expect(shop.placing()).toContain('b');
  });
});

test('a refused order does not count', async () => {
  const shop = createShop(1, ['x']);
  await expect(shop.place('a')).rejects.toMatchObject(refusal);
  await expect(shop.place('a')).rejects.toMatchObject(refusal);
  expect(shop.placing()).toEqual([]);
});

test('without a bound there is none, and nobody is asked', async () => {
  const findUndecided = jest.fn();
  const orders = { findUndecided, findAnswered: jest.fn(), findRunningOrder: jest.fn() };
  const bound = createOrderBound(orders, undefined);
  const placed = { kind: 'confirmed' };
  expect(await bound.within('ann', 'a', async () => placed)).toBe(placed);
  expect(findUndecided).not.toHaveBeenCalled();
});
