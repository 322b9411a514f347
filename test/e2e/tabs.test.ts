/** Many tabs of one browser on the dashboard: they share one stream, whichever of them is closed. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { looks, openPage, startBrowser } from './browser';

/** More than the connections that a browser opens to a host. */
const tabCount = 7;
const patiently = { timeout: 30_000 };

let stack: Stack;
let browser: Browser;
let api: RunningProcess;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector', 'worker:commerce']);
  api = await stack.start('api');
  browser = await startBrowser();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

/** The tabs of a browser that have a stream open now. */
interface Streams {
  holders(): Page[];
}

function watchStreams(context: BrowserContext): Streams {
  const open = new Map<object, Page>();
  context.on('request', (request) => {
    if (request.url().includes('/v1/stream')) open.set(request, request.frame().page());
  });
  for (const ended of ['requestfinished', 'requestfailed'] as const) {
    context.on(ended as 'requestfinished', (request) => open.delete(request));
  }
  context.on('page', (page) => {
    page.on('close', () => {
      for (const [request, holder] of open) if (holder === page) open.delete(request);
    });
  });
  return { holders: () => [...open.values()] };
}

async function onTabs(test: (tabs: Page[], streams: Streams) => Promise<void>): Promise<void> {
  const first = await openPage(browser, 'about:blank', looks.desk, 'dev-operator-key');
  const context = first.page.context();
  const streams = watchStreams(context);
  try {
    const tabs = await Promise.all(Array.from({ length: tabCount }, () => context.newPage()));
    await Promise.all(tabs.map((tab) => tab.goto(`${api.url}/`)));
    await test(tabs, streams);
  } finally {
    await first.close();
  }
}

async function untilLive(tabs: readonly Page[]): Promise<void> {
  await Promise.all(tabs.map((tab) => tab.locator('#live[data-state="live"]').waitFor(patiently)));
}

/** The one tab that has the stream. */
async function untilOneHolds(streams: Streams): Promise<Page> {
  return until('one tab has the stream', async () => {
    const holders = streams.holders();
    return holders.length === 1 ? holders[0] : undefined;
  });
}

/** Sends views. @returns their IDs */
async function view(product: string, count: number): Promise<string[]> {
  const events = Array.from({ length: count }, () => viewed(product));
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));
  return events.map(({ id }) => id).sort();
}

async function listed(tab: Page, product: string): Promise<string[]> {
  const ids = await tab
    .locator('.events li', { hasText: product })
    .evaluateAll((rows) => rows.map((row) => row.getAttribute('data-event') ?? ''));
  return ids.sort();
}

async function untilListed(tabs: readonly Page[], product: string, ids: string[]): Promise<void> {
  for (const tab of tabs) {
    await until(`each view of ${product} is listed once`, async () => {
      const found = await listed(tab, product);
      return JSON.stringify(found) === JSON.stringify(ids);
    });
  }
}

test(`${tabCount} tabs are live with one stream, and what else a page asks for is answered`, async () => {
  await onTabs(async (tabs, streams) => {
    await untilLive(tabs);
    await untilOneHolds(streams);
    await untilListed(tabs, 'tea-for-all', await view('tea-for-all', 5));
    // One that comes later is told what was there before.
    const late = await tabs[0]!.context().newPage();
    await late.goto(`${api.url}/#/products`);
    await late.locator('.ranking tbody tr').first().waitFor(patiently);
    await late.goto(`${api.url}/#/`);
    await untilListed([late], 'tea-for-all', await listed(tabs[1]!, 'tea-for-all'));
    expect(streams.holders()).toHaveLength(1);
  });
}, 120_000);

test('when the tab that has the stream is closed, the others go on and miss nothing', async () => {
  await onTabs(async (tabs, streams) => {
    await untilLive(tabs);
    const left = [...tabs];
    const sent: string[] = [];
    for (let turn = 0; turn < 3; turn += 1) {
      const holder = await untilOneHolds(streams);
      left.splice(left.indexOf(holder), 1);
      const sending = view('tea-meanwhile', 10);
      await holder.close();
      const from = Date.now();
      const next = await untilOneHolds(streams);
      // Within a second, where the machine has nothing else to do.
      expect(Date.now() - from).toBeLessThan(3_000);
      expect(left).toContain(next);
      sent.push(...(await sending), ...(await view('tea-meanwhile', 2)));
    }
    await untilListed(left, 'tea-meanwhile', sent.sort());
    await untilLive(left);
  });
}, 120_000);

test('a tab that signs out gives the stream to another', async () => {
  await onTabs(async (tabs, streams) => {
    await untilLive(tabs);
    const holder = await untilOneHolds(streams);
    await holder.getByRole('button', { name: 'Sign out' }).click();
    await holder.getByLabel('Operator key').waitFor(patiently);
    await until('another tab has it', async () => {
      const holders = streams.holders();
      return holders.length === 1 && holders[0] !== holder;
    });
    const others = tabs.filter((tab) => tab !== holder);
    await untilListed(others, 'tea-without-one', await view('tea-without-one', 3));
  });
}, 120_000);

test('an API that hangs is noticed within seconds in every tab, and nothing is missed', async () => {
  await onTabs(async (tabs) => {
    await untilLive(tabs);
    api.signal('SIGSTOP');
    try {
      const from = Date.now();
      await Promise.all(
        tabs.map((tab) => tab.locator('#live[data-state="interrupted"]').waitFor(patiently)),
      );
      expect(Date.now() - from).toBeLessThan(8_000);
    } finally {
      api.signal('SIGCONT');
    }
    await untilLive(tabs);
    await untilListed(tabs, 'tea-afterwards', await view('tea-afterwards', 3));
  });
}, 120_000);

test('a tab that is frozen with the stream loses it to another', async () => {
  await onTabs(async (tabs, streams) => {
    await untilLive(tabs);
    const holder = await untilOneHolds(streams);
    const others = tabs.filter((tab) => tab !== holder);
    // Its script does not come to anything else meanwhile; its stream stays open.
    const frozen = holder.evaluate('for (const end = Date.now() + 12000; Date.now() < end;);');
    await until('another tab has it', () => streams.holders().some((tab) => tab !== holder));
    const ids = await view('tea-while-frozen', 3);
    await untilListed(others, 'tea-while-frozen', ids);
    await untilLive(others);
    await frozen;
    await untilListed([holder], 'tea-while-frozen', ids);
    await untilLive(tabs);
    expect(await untilOneHolds(streams)).not.toBe(holder);
  });
}, 120_000);
