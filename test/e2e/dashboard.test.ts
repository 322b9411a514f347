/** The dashboard in a real browser, on real servers: each click, from the button to the changed number. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import {
  findAccessibilityProblems,
  keepPicture,
  looks,
  openPage,
  startBrowser,
  type Look,
  type OpenPage,
} from './browser';

const operatorKey = 'dev-operator-key';
const patiently = { timeout: 30_000 };

/** The views that the docs show, each in a look. */
const pictured = [
  ...['overview-desk', 'overview-deskAtNight', 'overview-phone', 'products-desk'],
  ...['orders-desk', 'order-desk'],
  ...['product-deskAtNight', 'product-phone', 'dead-letter-desk', 'dead-letter-phoneAtNight'],
  'event-desk',
];

let stack: Stack;
let browser: Browser;
let url: string;

beforeAll(async () => {
  stack = await createStack(['worker:commerce', 'bridge', 'worker:collector']);
  ({ url } = await stack.start('api'));
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

/** Opens a view, runs the test on it, and expects that nothing went wrong on the page meanwhile. */
async function onView(
  hash: string,
  test: (page: Page, opened: OpenPage) => Promise<void>,
  look: Look = looks.desk,
): Promise<void> {
  const opened = await openPage(browser, `${url}/${hash}`, look, operatorKey);
  try {
    await test(opened.page, opened);
    expect(opened.troubles).toEqual([]);
  } finally {
    await opened.close();
  }
}

async function untilLive(page: Page): Promise<void> {
  await page.locator('#live[data-state="live"]').waitFor(patiently);
}

/** A number as the page shows it. */
async function numberIn(page: Page, selector: string): Promise<number> {
  const text = await page.locator(selector).innerText();
  return Number(text.replaceAll(',', '').replace(/^\D*?(\d+).*$/s, '$1'));
}

/** Waits until all the tiles have numbers. */
async function untilCounted(page: Page): Promise<void> {
  await untilLive(page);
  await until('the numbers are there', async () => {
    const values = await page.locator('.tile .value').allInnerTexts();
    const detail = await page.locator('#tile-rate .detail').innerText();
    return values.length === 4 && detail !== 'counting' && values[2] !== '–' && values[3] !== '–';
  });
}

const handledInTenMinutes = (page: Page) => numberIn(page, '#tile-rate .detail');

async function click(page: Page, act: string): Promise<string> {
  await page.locator(`button[data-act="${act}"]`).click();
  await until(`${act} has come to its end`, async () => {
    const state = await page.locator('.outcomes li').first().getAttribute('data-state');
    return state !== 'under-way';
  });
  return page.locator('.outcomes li').first().innerText();
}

async function registerProduct(name: string, stock: number): Promise<string> {
  const { body } = await stack.call('POST', '/v1/products', { body: { name, price: 900, stock } });
  return body.productId as string;
}

/** Orders one unit. @returns the order's ID */
async function place(productId: string, paymentToken: string, userId: string): Promise<string> {
  const body = { items: [{ productId, quantity: 1 }], paymentToken };
  const answer = await stack.call('POST', '/v1/orders', { as: 'shopper', userId, body });
  return answer.body.orderId as string;
}

async function sendPoison(): Promise<number> {
  const { body } = await stack.call('POST', '/v1/demonstration/poison', { body: {} });
  const parked = await until('it is parked', async () => {
    const list = await stack.call('GET', '/v1/dead-letters?limit=100');
    return list.body.items.find(
      (each: { topic: string; partition: number; offset: number }) =>
        each.topic === body.topic &&
        each.partition === body.partition &&
        each.offset === body.offset,
    ) as { id: number } | undefined;
  });
  return parked.id;
}

describe('signing in', () => {
  test('says what is wrong with a key, and opens with an operator’s', async () => {
    const { page, close } = await openPage(browser, url, looks.desk);
    try {
      await page.getByLabel('Operator key').waitFor();
      for (const [key, problem] of [
        ['nonsense', 'The API does not know this key.'],
        ['dev-shopper-key', 'This key is not an operator’s.'],
      ] as const) {
        await page.getByLabel('Operator key').fill(key);
        await page.keyboard.press('Enter');
        await page.getByText(problem).waitFor(patiently);
      }
      await page.getByLabel('Operator key').fill(operatorKey);
      await page.keyboard.press('Enter');
      await untilLive(page);
      await page.reload();
      await untilLive(page);
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('Operator key').waitFor();
      expect(await page.evaluate('sessionStorage.length')).toBe(0);
    } finally {
      await close();
    }
  });
});

describe('a button of the demonstration', () => {
  test('places an order, whose events are counted, listed, and found in the Temporal Web UI', async () => {
    await onView('', async (page) => {
      await untilCounted(page);
      const before = await handledInTenMinutes(page);
      expect(await click(page, 'order')).toMatch(/^Bought 1 × /);
      await until('four events of the order are counted', async () => {
        return (await handledInTenMinutes(page)) >= before + 4;
      });
      const confirmed = page.locator('.events li', { hasText: 'OrderConfirmed' }).first();
      const link = await confirmed.getByRole('link', { name: /^Workflow/ }).getAttribute('href');
      const ui = `${stack.config.TEMPORAL_UI_URL}/namespaces/${stack.config.TEMPORAL_NAMESPACE}/workflows/`;
      expect(link?.startsWith(ui)).toBe(true);
      const workflowId = decodeURIComponent(link?.slice(ui.length) ?? '');
      const workflow = await stack.temporal.workflow.getHandle(workflowId).describe();
      expect(workflow.type).toMatch(/^handleEvent/);
    });
  });

  test('sells a product out, which evicts it from the cache', async () => {
    const productId = await registerProduct('Gyokuro', 7);
    await until('a shopper has it cached', async () => {
      const { headers } = await stack.call('GET', `/v1/products/${productId}`, { as: 'shopper' });
      return headers.get('x-cache') === 'hit';
    });
    await onView(`#/products/${productId}`, async (page) => {
      await page.locator('[data-cache="cached"]').waitFor(patiently);
      await until('the stock is shown', async () => {
        return (await numberIn(page, '#tile-stock .value')) === 7;
      });
      expect(await click(page, 'sell-out')).toMatch(/^Sold out: bought all 7 × Gyokuro/);
      await until('all of it is sold', async () => {
        return (
          (await numberIn(page, '#tile-stock .value')) === 0 &&
          (await numberIn(page, '#tile-sold .value')) === 7
        );
      });
      await page.locator('[data-cache="absent"]').waitFor(patiently);
      await page.locator('#history', { hasText: '−7 to 0, order' }).waitFor(patiently);
      await page.locator('[data-user="demonstration"]').waitFor(patiently);
    });
  });

  test('delivers an event again, which is read and changes nothing', async () => {
    await registerProduct('Matcha', 1);
    await until('everything is handled', async () => {
      const { rows } = await stack.pool.query(
        `SELECT (SELECT count(*) FROM commerce.outbox) <= (SELECT count(*) FROM collector.event_handled) AS all`,
      );
      return rows[0]?.all as boolean;
    });
    await onView('', async (page) => {
      await untilCounted(page);
      const handled = await countHandled();
      const [topic, partition, offset] = await redeliver(page);
      expect(await page.locator('.outcomes').innerText()).toMatch(
        /changed nothing: it was handled once/,
      );
      await until('the copy is counted as read', async () => {
        const cells = page.locator(`tr[data-partition="${topic}/${partition}"] td`);
        const [read, end, lag] = await cells.allInnerTexts();
        return Number(read) > offset && Number(end) > offset && Number(lag) === 0;
      });
      expect(await countHandled()).toBe(handled);
    });
  });

  test('sends a poison message, which waits as a dead letter', async () => {
    await onView('', async (page) => {
      await untilCounted(page);
      const before = await numberIn(page, '#tile-dead-letters .value');
      expect(await click(page, 'poison')).toMatch(/was parked as dead letter \d+: NOT_UTF8/);
      await until('one more waits', async () => {
        return (await numberIn(page, '#tile-dead-letters .value')) === before + 1;
      });
      await page.locator('.outcomes').getByRole('link', { name: 'dead letter' }).click();
      await page.locator('pre.hex', { hasText: '00 ff fe 07' }).waitFor(patiently);
      await page.locator('#headers', { hasText: 'application/cloudevents+json' }).waitFor();
    });
  });

  async function redeliver(
    page: Page,
  ): Promise<[topic: string, partition: number, offset: number]> {
    const text = await click(page, 'redeliver');
    const [, topic = '', partition, offset] = /([\w-]+)\/(\d+) at (\d+)/.exec(text) ?? [];
    return [topic, Number(partition), Number(offset)];
  }

  async function countHandled(): Promise<number> {
    const { rows } = await stack.pool.query('SELECT count(*) FROM collector.event_handled');
    return rows[0]?.count as number;
  }
});

describe('the search', () => {
  test('leads by keyboard alone to the journey of an event, and from there to its product', async () => {
    const productId = await registerProduct('Hojicha, roasted', 3);
    const body = { delta: -3, reason: 'correction' };
    const route = `/v1/products/${productId}/stock-adjustments`;
    const { eventId } = (await stack.call('POST', route, { body })).body as { eventId: string };
    await onView('', async (page) => {
      await untilLive(page);
      await page.keyboard.press('/');
      await page.keyboard.type(eventId);
      await page.getByRole('option', { name: eventId }).waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
      await page.keyboard.press('ArrowDown');
      await page.locator('[role="option"][aria-selected="true"]').waitFor();
      expect(await findAccessibilityProblems(page)).toEqual([]);
      await page.keyboard.press('Enter');
      await page.locator('.mark[data-journey="handled"]').waitFor(patiently);
      await page.locator('[data-stage="evicted"][data-reached="yes"]').waitFor(patiently);
      for (const stage of ['committed', 'published', 'taken', 'logged', 'handled']) {
        await page.locator(`[data-stage="${stage}"][data-reached="yes"]`).waitFor(patiently);
      }
      await page.locator('#effects', { hasText: 'stock = 0' }).waitFor();
      await page.locator('#envelope', { hasText: '"previousStock": 3' }).waitFor();
      expect(await findAccessibilityProblems(page)).toEqual([]);

      await page.keyboard.press('Control+k');
      await page.keyboard.type('hojicha roa');
      // Quicker than the results: the first of them is taken.
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Hojicha, roasted' }).waitFor(patiently);
      await page
        .locator('#history')
        .getByRole('link', { name: 'StockAdjusted' })
        .waitFor(patiently);
    });
  });

  test('finds a dead letter by its number, and says what can be searched for where it finds nothing', async () => {
    const id = await sendPoison();
    await onView('#/products', async (page) => {
      await untilLive(page);
      await page.keyboard.press('Control+k');
      await page.keyboard.type('no-such-thing');
      await page.getByText('Nothing found. Search for the ID of an event').waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.keyboard.press('Escape');
      await page.keyboard.type(`#${id}`);
      await page.getByRole('option', { name: `#${id}: NOT_UTF8` }).waitFor(patiently);
      await page.keyboard.press('ArrowUp');
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: `Dead letter ${id}` }).waitFor(patiently);
    });
  });
});

test('what there is not has a page that says so', async () => {
  for (const [hash, heading] of [
    ['#/products/no-such-product', 'No product no-such-product'],
    ['#/products/two%20words', 'No product two words'],
    ['#/dead-letters/999999', 'No dead letter 999999'],
    ['#/dead-letters/first', 'Page not found'],
    ['#/events/no-such-event', 'No event no-such-event'],
    ['#/nowhere', 'Page not found'],
    ['#/products/%', 'No product %'],
  ] as const) {
    await onView(hash, async (page, opened) => {
      await page.getByRole('heading', { name: heading }).waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
      // The browser itself logs each answer that is an error.
      expect(opened.troubles.filter((trouble) => !/status of 40[04]/.test(trouble))).toEqual([]);
      opened.troubles.length = 0;
    });
  }
});

describe('a dead letter', () => {
  test('is discarded with a reason, after a question', async () => {
    const id = await sendPoison();
    await onView(`#/dead-letters/${id}`, async (page) => {
      await page.getByRole('button', { name: 'Discard' }).click();
      const question = page.getByRole('dialog');
      await question.getByRole('button', { name: 'Cancel' }).click();
      await question.waitFor({ state: 'detached' });
      expect((await stack.call('GET', `/v1/dead-letters/${id}`)).body.status).toBe('parked');

      await page.getByRole('button', { name: 'Discard' }).click();
      await question.getByRole('button', { name: 'Discard' }).click();
      // Without a reason the question stays.
      expect(await question.isVisible()).toBe(true);
      await question.getByLabel('Reason').fill('a test of the till');
      expect(await findAccessibilityProblems(page)).toEqual([]);
      await question.getByRole('button', { name: 'Discard' }).click();
      await page.locator('.mark[data-status="discarded"]').waitFor(patiently);
      await page.locator('#facts', { hasText: 'a test of the till' }).waitFor(patiently);
    });
    const { body } = await stack.call('GET', `/v1/dead-letters/${id}`);
    expect(body).toMatchObject({ status: 'discarded', note: 'a test of the till' });
  });

  test('is redriven, and comes back as a new one when it fails again', async () => {
    const id = await sendPoison();
    await onView(`#/dead-letters/${id}`, async (page) => {
      await page.getByRole('button', { name: 'Redrive' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Redrive' }).click();
      await page
        .locator('.outcome', { hasText: 'Sent back to catalog-events/' })
        .waitFor(patiently);
      const again = page.locator('.mark[data-status="parked-again"]').getByRole('link');
      await again.click(patiently);
      await page
        .locator('#facts')
        .getByRole('link', { name: `Dead letter ${id}` })
        .click(patiently);
      await page.locator('.mark[data-status="parked-again"]').waitFor(patiently);
    });
  });
});

describe('the list of orders', () => {
  let productId: string;
  let declined: string;

  beforeAll(async () => {
    productId = await registerProduct('Houjicha', 100);
    declined = await place(productId, 'tok_decline', 'bob');
    for (let count = 0; count < 21; count += 1) await place(productId, 'tok_approve', 'ann');
  }, 60_000);

  const listed = (page: Page): Promise<number> => page.locator('tr[data-order]').count();

  test('is filtered by status, by user and by product', async () => {
    await onView('#/orders', async (page) => {
      await page.getByLabel('Product ID').fill(productId);
      await page.getByLabel('User ID').fill('bob');
      await page.keyboard.press('Enter');
      await until('only the declined one is listed', async () => (await listed(page)) === 1);
      await page.locator(`tr[data-order="${declined}"]`, { hasText: 'declined' }).waitFor();
      await page.getByRole('button', { name: 'Confirmed' }).click();
      await page.getByText('No such orders.').waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
    });
  });

  test('has pages, forth and back', async () => {
    await onView('#/orders', async (page) => {
      await page.getByLabel('Product ID').fill(productId);
      await page.keyboard.press('Enter');
      await until('the first page is there', async () => (await listed(page)) === 20);
      await page.getByRole('button', { name: 'Next page' }).click();
      await until('the rest is there', async () => (await listed(page)) === 2);
      await page.locator(`tr[data-order="${declined}"]`).waitFor();
      expect(await page.getByRole('button', { name: 'Next page' }).count()).toBe(0);
      await page.getByRole('button', { name: 'Previous page' }).click();
      await until('the first page is there again', async () => (await listed(page)) === 20);
    });
  });

  test('leads to an order with its timeline, whose workflow opens in the Temporal Web UI', async () => {
    await onView(`#/orders/${declined}`, async (page) => {
      const steps = page.locator('.steps li');
      await until('all has happened', async () => (await steps.count()) === 4);
      const names = await steps.evaluateAll((all) => all.map((li) => li.getAttribute('data-step')));
      expect(names).toEqual(['reserved', 'payment-failed', 'released', 'cancelled']);
      const link = await page
        .getByRole('link', { name: /^Open the workflow/ })
        .getAttribute('href');
      expect(link?.endsWith(`/workflows/order-${declined}`)).toBe(true);
      expect(await page.locator('button[data-act="cancel"]').count()).toBe(0);
      expect(await page.locator('#payment').innerText()).toContain(`order-${declined}/charge`);
    });
  });
});

test('a page whose API goes away says since when, and misses nothing when it is back', async () => {
  await onView('', async (page, opened) => {
    await untilCounted(page);
    const [api] = stack.running('api');
    await api?.end();
    await page.locator('#live[data-state="interrupted"]').waitFor(patiently);
    await page.locator('#live[data-verdict="unknown"]').waitFor(patiently);
    await page.locator('#banner', { hasText: 'State of the system unknown since' }).waitFor();
    await page.locator('#events .note', { hasText: 'Interrupted since' }).waitFor(patiently);
    await page.locator('.stale', { hasText: 'cannot be reached' }).first().waitFor(patiently);
    expect(await findAccessibilityProblems(page)).toEqual([]);
    await keepPicture(page, 'dashboard-interrupted');
    const events = Array.from({ length: 12 }, (_, index) => viewed(`while-away-${index}`));
    await produce(stack.kafka, 'catalog-events', events.map(messageOf));
    await until('they are handled while nobody looks', async () => {
      const { rows } = await stack.pool.query(
        `SELECT count(*) FROM collector.event_handled WHERE event_id = ANY ($1)`,
        [events.map(({ id }) => id)],
      );
      return rows[0]?.count === events.length;
    });
    await stack.start('api', { API_PORT: new URL(url).port });
    await untilLive(page);
    await until('each of them is listed', async () => {
      return (await page.locator('.events .about', { hasText: 'while-away-' }).count()) > 11;
    });
    const listed = await page
      .locator('.events li', { hasText: 'while-away-' })
      .evaluateAll((rows) => rows.map((row) => row.getAttribute('data-event')));
    expect(listed.toSorted()).toEqual(events.map(({ id }) => id).toSorted());
    // The browser itself logs each failed request.
    const unreachable =
      /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;
    expect(opened.troubles.filter((trouble) => !unreachable.test(trouble))).toEqual([]);
    opened.troubles.length = 0;
  });
}, 120_000);

describe('with the keyboard alone', () => {
  test('everything on the overview is reached, in order, and seen to be', async () => {
    await onView('', async (page) => {
      await untilCounted(page);
      const reached = await walk(page, 40);
      expect(reached.slice(0, 4)).toEqual([
        'Skip to the content',
        'Overview',
        'Products',
        'Orders',
      ]);
      for (const name of ['Sign out', 'Pause', 'Place an order', 'Send a poison message']) {
        expect(await reach(page, name)).toBe(true);
      }
    });
  });

  test('a view is opened, a dead letter found, and a question asked and left', async () => {
    const id = await sendPoison();
    await onView('', async (page) => {
      await untilCounted(page);
      expect(await reach(page, 'Dead letters')).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator(`tr[data-dead-letter="${id}"]`).waitFor(patiently);
      expect(await reach(page, `Dead letter ${id}`)).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator('button[data-act="redrive"]').waitFor(patiently);
      expect(await reach(page, 'Discard')).toBe(true);
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      expect(await page.evaluate("document.activeElement.closest('dialog') !== null")).toBe(true);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      expect(await focused(page)).toBe('Discard');
    });
  });

  test('a group of 1,000 dead letters in 12 groups is opened, tried, redriven, and followed', async () => {
    const events = await parkGroups();
    await onView('#/dead-letters', async (page) => {
      await page.locator('.dead-letter-groups tbody tr').nth(11).waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
      expect(await reach(page, 'UNKNOWN_TYPE on catalog-events from /till')).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator(`#dead-letter-group [data-count="${events.length}"]`).waitFor(patiently);
      const outcome = (text: string) =>
        page.locator('#dead-letter-group .outcome', { hasText: text }).waitFor(patiently);
      expect(await reach(page, 'Would they parse now?')).toBe(true);
      await page.keyboard.press('Enter');
      await outcome(`${events.length} would parse.`);
      expect(await findAccessibilityProblems(page)).toEqual([]);
      expect(await reach(page, `Redrive all ${events.length}`)).toBe(true);
      await page.keyboard.press('Enter');
      await page.getByRole('dialog', { name: `Redrive ${events.length} dead letters?` }).waitFor();
      expect(await reach(page, 'Redrive')).toBe(true);
      await page.keyboard.press('Enter');
      await outcome(`${events.length} sent back.`);
      expect(await reach(page, 'Redriven')).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator('#dead-letters .mark[data-status="handled"]').first().waitFor(patiently);
      expect(await findAccessibilityProblems(page)).toEqual([]);
    });
  }, 120_000);

  /** @returns the events of the one group that a redrive repairs */
  async function parkGroups(): Promise<ForeignEvent[]> {
    const events = Array.from({ length: 65 }, () => ({ ...viewed('triage'), source: '/till' }));
    const values = events.map((event) => JSON.stringify(event));
    await stack.pool.query(
      `INSERT INTO collector.dead_letters
         (topic, partition, "offset", key, value, value_hash, headers, produced_at, reason, detail, workflow_id)
       SELECT 'catalog-events', 0, 1000000 + number, convert_to('triage', 'UTF8'), value, sha256(value),
         '[]', now(), reason, 'by hand', 'none'
       FROM (
         SELECT number, convert_to(value, 'UTF8') AS value, 'UNKNOWN_TYPE' AS reason
         FROM unnest($1::text[]) WITH ORDINALITY AS repaired (value, number)
         UNION ALL
         SELECT 1000 + number, convert_to(format('{"source":"/producer-%s","n":%s}', number % 11, number), 'UTF8'),
           'INVALID_ENVELOPE'
         FROM generate_series(1, 935) AS number
       ) AS letter`,
      [values],
    );
    return events;
  }

  test('an order is found in the list, and cancelled', async () => {
    const productId = await registerProduct('Hojicha', 3);
    const orderId = await place(productId, 'tok_approve', 'keyboard');
    await onView('', async (page) => {
      await untilCounted(page);
      expect(await reach(page, 'Orders')).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator(`tr[data-order="${orderId}"]`).waitFor(patiently);
      expect(await reach(page, orderId)).toBe(true);
      await page.keyboard.press('Enter');
      await page.locator('button[data-act="cancel"]').waitFor(patiently);
      expect(await reach(page, 'Cancel the order')).toBe(true);
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      expect(await findAccessibilityProblems(page)).toEqual([]);
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      expect(await focused(page)).toBe('Cancel the order');
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').getByLabel('Reason').fill('by keyboard');
      await page.keyboard.press('Enter');
      await page.locator('.mark[data-status="cancelled"]').waitFor(patiently);
      await page.locator('[data-step="refunded"]', { hasText: 'by keyboard' }).waitFor(patiently);
    });
    const { body } = await stack.call('GET', `/v1/orders/${orderId}`);
    expect(body).toMatchObject({ status: 'CANCELLED', reason: 'by keyboard' });
  });

  const focusedName = `(() => {
    const element = document.activeElement;
    return (element?.getAttribute('aria-label') ?? element?.innerText ?? '').trim().replace(/\\s+/g, ' ');
  })()`;

  async function focused(page: Page): Promise<string> {
    return page.evaluate<string>(focusedName);
  }

  /** Goes on by Tab, and answers what was reached; each must be marked. */
  async function walk(page: Page, steps: number): Promise<string[]> {
    const reached: string[] = [];
    for (let step = 0; step < steps; step += 1) {
      await page.keyboard.press('Tab');
      const outline = await page.evaluate<string>(
        "document.activeElement === document.body ? 'none needed' : getComputedStyle(document.activeElement).outlineStyle",
      );
      expect(outline).not.toBe('none');
      reached.push(await focused(page));
    }
    return reached;
  }

  async function reach(page: Page, name: string): Promise<boolean> {
    for (let step = 0; step < 250; step += 1) {
      await page.keyboard.press('Tab');
      if ((await focused(page)).startsWith(name)) return true;
    }
    return false;
  }
});

describe('what it looks like', () => {
  let product: string;
  let event: string;
  let deadLetter: number;
  let order: string;

  beforeAll(async () => {
    product = await registerProduct('Sencha, first flush', 40);
    for (const user of ['ann', 'bob', 'cho']) {
      await stack.call('PUT', `/v1/products/${product}/like`, { as: 'shopper', userId: user });
      await stack.call('GET', `/v1/products/${product}`, { as: 'shopper', userId: user });
    }
    await stack.call('POST', '/v1/demonstration/orders', { body: { productId: product } });
    const logged = await until('an order is confirmed', async () => {
      const { body } = await stack.call('GET', '/v1/events?type=OrderConfirmed&limit=1');
      return body.items[0] as { eventId: string } | undefined;
    });
    event = logged.eventId;
    order = await place(product, 'tok_decline', 'ann');
    deadLetter = await sendPoison();
    await stack.call('POST', '/v1/verification');
    if (process.env['SCREENSHOTS'] !== undefined) await shopForAMinute();
  }, 120_000);

  /** So that pictures show what a page looks like in use. */
  async function shopForAMinute(): Promise<void> {
    // Of the test with 1,000 of them.
    await stack.pool.query(`DELETE FROM collector.dead_letters WHERE workflow_id = 'none'`);
    const names = ['Oolong, 100 g', 'Porcelain cup', 'Tea pot, 0.8 l', 'Bamboo whisk'];
    const stocked = await Promise.all(
      names.map((name, index) => registerProduct(name, 60 + index)),
    );
    const products = [product, ...stocked, product];
    const end = Date.now() + 60_000;
    for (let turn = 0; Date.now() < end; turn += 1) {
      const productId = products[(turn * turn) % products.length];
      const as = { as: 'shopper', userId: ['ann', 'bob', 'cho', 'dan'][turn % 4]! } as const;
      const items = [{ productId, quantity: 1 + (turn % 2) }];
      const body = { items, paymentToken: turn % 4 === 0 ? 'tok_decline' : 'tok_approve' };
      if (turn % 5 === 0) await stack.call('POST', '/v1/orders', { ...as, body });
      else if (turn % 3 === 0) await stack.call('PUT', `/v1/products/${productId}/like`, as);
      else await stack.call('GET', `/v1/products/${productId}`, as);
      await sleep(40 + 120 * (1 + Math.sin(turn / 25)));
    }
  }

  const views: [string, () => string, (page: Page) => Promise<void>][] = [
    ['overview', () => '', untilCounted],
    ['products', () => '#/products', (page) => page.locator('.ranking tbody tr').first().waitFor()],
    [
      'product',
      () => `#/products/${product}`,
      (page) => page.locator('#users tbody tr').first().waitFor(patiently),
    ],
    [
      'event',
      () => `#/events/${event}`,
      (page) => page.locator('#effects tbody tr').first().waitFor(patiently),
    ],
    [
      'verification',
      () => '#/verification',
      (page) => page.locator('.rules tbody tr').first().waitFor(patiently),
    ],
    [
      'not-found',
      () => '#/nowhere',
      (page) => page.getByRole('heading', { name: 'Page not found' }).waitFor(),
    ],
    [
      'orders',
      () => '#/orders',
      (page) => page.locator('tr[data-order]').first().waitFor(patiently),
    ],
    [
      'order',
      () => `#/orders/${order}`,
      (page) => page.locator('[data-step="cancelled"]').waitFor(patiently),
    ],
    [
      'dead-letters',
      () => '#/dead-letters',
      (page) => page.locator('tr[data-dead-letter]').first().waitFor(patiently),
    ],
    [
      'dead-letter-group',
      () => '#/dead-letters?reason=NOT_UTF8&topic=catalog-events&producer=',
      (page) =>
        page.locator('#dead-letter-group button[data-act="redrive-all"]').waitFor(patiently),
    ],
    [
      'dead-letter',
      () => `#/dead-letters/${deadLetter}`,
      (page) => page.locator('pre.hex').waitFor(),
    ],
  ];

  describe.each(Object.entries(looks))('%s', (lookName, look) => {
    test.each(views)('the view %s is accessible and fits', async (name, hash, ready) => {
      await onView(
        hash(),
        async (page) => {
          await untilLive(page);
          await ready(page);
          expect(await findAccessibilityProblems(page)).toEqual([]);
          const width = await page.evaluate<number>('document.documentElement.scrollWidth');
          expect(width).toBeLessThanOrEqual(look.width);
          const picture = `${name}-${lookName}`;
          if (pictured.includes(picture)) await keepPicture(page, `dashboard-${picture}`);
        },
        look,
      );
    });
  });
});

// The last one: the stack calls the API that was started last.
test('where no demonstration is allowed, there are no buttons and no routes for it', async () => {
  const guarded = await stack.start('api', { DEMONSTRATION: 'false' });
  const address = guarded.url;
  const headers = { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' };
  const init = { method: 'POST', headers, body: '{}' };
  expect((await fetch(`${address}/v1/demonstration/poison`, init)).status).toBe(404);
  const { page, close } = await openPage(browser, address, looks.desk, operatorKey);
  await untilCounted(page);
  expect(await page.locator('#demonstration').count()).toBe(0);
  await close();
  await guarded.end();
}, 120_000);
