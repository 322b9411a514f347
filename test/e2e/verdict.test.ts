/** How the system is, as the dashboard tells it in a real browser while real servers go and come back. */
import type { Browser, Page } from 'playwright-core';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import {
  findAccessibilityProblems,
  keepPicture,
  looks,
  openPage,
  startBrowser,
  type Look,
} from './browser';

const patiently = { timeout: 30_000 };

let stack: Stack;
let browser: Browser;
let api: RunningProcess;

beforeAll(async () => {
  // An audit a second: before one has ended, the state is unknown.
  stack = await createStack(['worker:commerce', 'bridge', 'worker:collector'], {
    AUDIT_INTERVAL_MS: '1000',
  });
  api = await stack.start('api');
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

async function onView(
  hash: string,
  test: (page: Page) => Promise<void>,
  look: Look = looks.desk,
): Promise<void> {
  const opened = await openPage(browser, `${api.url}/${hash}`, look, 'dev-operator-key');
  try {
    await test(opened.page);
  } finally {
    await opened.close();
  }
}

async function untilVerdict(page: Page, verdict: string): Promise<void> {
  await page.locator(`#live[data-verdict="${verdict}"]`).waitFor({ timeout: 60_000 });
}

async function registerProduct(): Promise<string> {
  const body = { name: 'Gyokuro', price: 900, stock: 50 };
  return (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}

test('consumption is held with a reason, which every page tells, and resumed', async () => {
  await onView('', async (page) => {
    await untilVerdict(page, 'ok');
    const answer = async (button: string): Promise<void> => {
      await page.getByLabel('Reason').fill('the database is being moved');
      await page.getByRole('dialog').getByRole('button', { name: button }).click();
    };
    await page.getByRole('button', { name: 'Hold all' }).click();
    await answer('Hold');
    await page
      .locator('#banner [data-problem="CONSUMPTION_HELD"]', {
        hasText: 'all of it, by operator: the database is being moved',
      })
      .waitFor(patiently);
    expect(await findAccessibilityProblems(page)).toEqual([]);
    await page.evaluate('scrollTo(0, 0)');
    await keepPicture(page, 'dashboard-consumption-held-desk');

    await page.getByRole('button', { name: 'Resume all of it' }).click();
    await answer('Resume');
    await page.locator('#consumption', { hasText: 'Nothing is held.' }).waitFor(patiently);
    await untilVerdict(page, 'ok');
  });
}, 120_000);

test('figures are verified from the page, and what differs is told on every page until it is mended', async () => {
  const productId = await registerProduct();
  const likesMore = (count: number) =>
    stack.pool.query(
      'UPDATE commerce.products SET like_count = like_count + $2 WHERE product_id = $1',
      [productId, count],
    );
  await onView('#/verification', async (page) => {
    const verify = async (outcome: string): Promise<void> => {
      await page.locator('button[data-act="verify"]:enabled').click();
      await page.locator(`#verification [data-outcome="${outcome}"]`).waitFor(patiently);
    };
    await verify('holds');
    expect(await page.locator('.rules tr[data-holds="true"]').count()).toBeGreaterThan(15);
    await page.locator('.rules', { hasText: 'like count is the number of users' }).waitFor();

    await likesMore(1);
    await verify('differs');
    await page.locator('[data-check="likes"] pre', { hasText: productId }).waitFor(patiently);
    expect(await findAccessibilityProblems(page)).toEqual([]);
    await keepPicture(page, 'dashboard-verification-differs-desk');
    await page.goto(`${api.url}/#/orders`);
    const banner = page.locator('#banner [data-problem="VERIFICATION_DIFFERS"]');
    await banner.waitFor(patiently);
    await banner.getByRole('link', { name: 'What differs' }).click();
    await page.locator('#verification-differences').waitFor(patiently);

    await likesMore(-1);
    await verify('holds');
    await banner.waitFor({ state: 'detached', ...patiently });
    await page.goto(`${api.url}/#/`);
    await page
      .locator('#audit [data-verification="last"]', { hasText: 'all figures add up' })
      .waitFor(patiently);
  });
}, 120_000);

describe('while Kafka is away', () => {
  afterAll(() => stack.cluster.start('kafka'));

  test('every page says so, since when, what waits and what to do; back, nothing is left of it', async () => {
    await registerProduct();
    await onView('', async (page) => {
      await untilVerdict(page, 'ok');
      expect(await page.locator('#live').innerText()).toContain('OK');
      expect(await page.locator('#banner').count()).toBe(0);

      await stack.cluster.stop('kafka');
      const banner = page.locator('#banner [data-problem="KAFKA_UNAVAILABLE"]');
      await banner.waitFor(patiently);
      expect(await page.locator('#live').innerText()).toContain('Degraded');
      await stack.call('POST', '/v1/demonstration/orders', { body: {} });
      await page
        .locator('#banner', {
          hasText: /since \d\d:\d\d:\d\d: orders are taken; \d events? waits?/,
        })
        .waitFor(patiently);
      await page.locator('#step-outbox[data-tone="warn"]').waitFor(patiently);
      // Nobody knows, which is not 0.
      expect(await page.locator('#step-kafka .figure').innerText()).toBe('–');
      for (const hash of ['#/products', '#/dead-letters']) {
        await page.goto(`${api.url}/${hash}`);
        await banner.waitFor(patiently);
      }
      await banner.getByRole('link', { name: 'What to do' }).click();
      await page
        .locator('#runbook', { hasText: 'npm run cluster -- start kafka' })
        .waitFor(patiently);
    });
  }, 120_000);

  test.each(Object.entries(looks))(
    'it is accessible and fits (%s)',
    async (name, look) => {
      await onView(
        '',
        async (page) => {
          await page.locator('#banner [data-problem="KAFKA_UNAVAILABLE"]').waitFor(patiently);
          await page.locator('#audit .note').waitFor(patiently);
          expect(await findAccessibilityProblems(page)).toEqual([]);
          const width = await page.evaluate<number>('document.documentElement.scrollWidth');
          expect(width).toBeLessThanOrEqual(look.width);
          if (name === 'desk') await keepPicture(page, 'dashboard-kafka-away-desk');
          await page.goto(`${api.url}/#/runbook/auditfindings`);
          await page.locator('#runbook', { hasText: 'What to do.' }).waitFor(patiently);
          expect(await findAccessibilityProblems(page)).toEqual([]);
        },
        look,
      );
    },
    60_000,
  );

  test('back, the page says that all is well, without a reload', async () => {
    await onView('', async (page) => {
      await untilVerdict(page, 'degraded');
      await stack.cluster.start('kafka');
      await untilVerdict(page, 'ok');
      expect(await page.locator('#banner').count()).toBe(0);
    });
  }, 120_000);
});

test('an API that hangs is noticed within seconds, and what nobody counts is no 0', async () => {
  await onView('', async (page) => {
    await untilVerdict(page, 'ok');
    await page.locator('#live[data-state="live"]').waitFor(patiently);
    api.signal('SIGSTOP');
    try {
      const from = Date.now();
      await page.locator('#live[data-state="interrupted"]').waitFor(patiently);
      expect(Date.now() - from).toBeLessThan(8_000);
      await page.locator('#banner [data-problem="STREAM_INTERRUPTED"]').waitFor(patiently);
      expect(await page.locator('#banner').innerText()).toContain('no heartbeat for 5 s');
      await untilVerdict(page, 'unknown');
      expect(await page.locator('#tile-rate .value').innerText()).toBe('–');
      expect(await page.locator('#step-handled .figure').innerText()).toBe('–');
    } finally {
      api.signal('SIGCONT');
    }
    await untilVerdict(page, 'ok');
    await page.locator('#live[data-state="live"]').waitFor(patiently);
  });
}, 120_000);

test('the type of events is asked for, however many others came since', async () => {
  const productId = await registerProduct();
  const others = Array.from({ length: 250 }, (_, index) => viewed(`tea-${index}`));
  await produce(stack.kafka, 'catalog-events', others.map(messageOf));
  await until(
    'they are handled',
    async () => {
      const { rows } = await stack.pool.query(
        'SELECT count(*) FROM collector.event_handled WHERE event_id = ANY ($1)',
        [others.map(({ id }) => id)],
      );
      return rows[0]?.count === others.length;
    },
    { timeoutMs: 60_000 },
  );
  await onView('', async (page) => {
    await page.locator('#live[data-state="live"]').waitFor(patiently);
    await page.locator('#event-type').selectOption('ProductRegistered');
    await page.locator('.events li', { hasText: productId }).waitFor(patiently);
    expect(await page.locator('.events .type').allInnerTexts()).not.toContain('ProductViewed');
  });
}, 120_000);

test('the page ends where its content does, on a desk and on a phone', async () => {
  for (const look of [looks.desk, looks.phone]) {
    await onView(
      '',
      async (page) => {
        await page.locator('.events li').first().waitFor(patiently);
        const beyond = await page.evaluate<number>(
          `document.documentElement.scrollHeight -
             Math.round(document.querySelector('main').getBoundingClientRect().bottom + scrollY)`,
        );
        expect(beyond).toBeLessThanOrEqual(1);
      },
      look,
    );
  }
});

test('the history of a product has the newest first, by the times that it shows', async () => {
  const productId = await registerProduct();
  for (let count = 1; count <= 4; count += 1) {
    const body = { delta: 1, reason: 'restock' };
    await stack.call('POST', `/v1/products/${productId}/stock-adjustments`, { body });
  }
  // Logged last, and the oldest.
  await produce(stack.kafka, 'catalog-events', [
    messageOf({ ...viewed(productId), time: '2026-01-01T00:00:00.000Z' }),
  ]);
  await onView(`#/products/${productId}`, async (page) => {
    await page.locator('#history', { hasText: 'ProductViewed' }).waitFor(patiently);
    const times = await page
      .locator('#history time')
      .evaluateAll((rows) => rows.map((row) => row.getAttribute('datetime')));
    expect(times).toEqual(times.toSorted().reverse());
  });
}, 60_000);
