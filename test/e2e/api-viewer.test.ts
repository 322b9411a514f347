/** The viewer of the API's description in a real browser: it needs nobody but its server. */
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';
import { keepPicture, looks, openPage, startBrowser, type Look } from './browser';

let server: DisconnectedServer;
let browser: Browser;
let url: string;

beforeAll(async () => {
  server = await createDisconnectedServer();
  await server.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(server.app.server.address() as AddressInfo).port}`;
  browser = await startBrowser();
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

test.each<[string, Look]>([
  ['api-viewer', looks.desk],
  ['api-viewer-phone-night', looks.phoneAtNight],
])('shows every operation, without another host and within its policy (%s)', async (name, look) => {
  const { page, troubles, close } = await openPage(browser, 'about:blank', look);
  const foreign: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
      foreign.push(request.url());
    }
  });
  try {
    await page.goto(`${url}/docs`);
    await page.locator('#operations-Process-readMetrics').waitFor();
    const operations = Object.values(server.app.swagger().paths ?? {}).flatMap(Object.keys);
    expect(await page.locator('.opblock').count()).toBe(operations.length);
    await page.locator('#operations-Orders-placeOrder .opblock-summary-control').click();
    await page.locator('#operations-Orders-placeOrder .responses-table').first().waitFor();
    expect(await page.locator('#operations-Orders-placeOrder').innerText()).toContain('curl -i');
    await keepPicture(page, name);
    expect(foreign).toEqual([]);
    expect(troubles).toEqual([]);
  } finally {
    await close();
  }
});

test('a request that is tried out is answered', async () => {
  const { page, troubles, close } = await openPage(browser, `${url}/docs`, looks.desk);
  try {
    const operation = page.locator('#operations-Process-isAlive');
    await operation.locator('.opblock-summary-control').click();
    await operation.locator('button.execute').click();
    await operation.locator('.live-responses-table').waitFor();
    expect(await operation.locator('.live-responses-table').innerText()).toContain(
      '"status": "ok"',
    );
    expect(troubles).toEqual([]);
  } finally {
    await close();
  }
});
