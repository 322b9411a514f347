import { createHmac } from 'node:crypto';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import type { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { Pool } from 'pg';
import {
  createNotificationActivities,
  retryDelayMs,
} from '../../activities/collector/notifications/activities';
import { recordDue } from '../../activities/collector/notifications/outbox';
import { notifications, subscriptionsOf } from '../../activities/collector/notifications/registry';
import { soldOut } from '../../activities/collector/notifications/sold-out';
import {
  headersOf,
  judge,
  sendWebhook,
  webhookId,
} from '../../activities/collector/notifications/webhook';
import type { Event } from '../../events/envelope';
import { readConfig } from '../../platform/process/config';
import { exampleEvent } from '../../testkit/example-events';
import { startWebhookReceiver } from '../../testkit/webhook-receiver';

const folder = path.join(__dirname, '..', '..', 'activities', 'collector', 'notifications');
const url = 'https://receiver.example/hooks';

describe('declarations', () => {
  test('every file that declares a notification is registered', () => {
    const shared = ['activities', 'notification', 'outbox', 'registry', 'webhook'];
    const declared = readdirSync(folder)
      .map((file) => path.parse(file).name)
      .filter((name) => !shared.includes(name));
    expect(notifications.map(({ name }) => name).toSorted()).toEqual(declared.toSorted());
  });

  test('each has a name that stands in SQL, in a header and in a workflow’s ID as it is', () => {
    const names = notifications.map(({ name }) => name);
    expect(names.filter((name) => !/^[a-z]+(-[a-z]+)*$/.test(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
  });

  test('only those with a receiver are subscribed to', () => {
    expect(subscriptionsOf(readConfig({}))).toEqual([]);
    expect(subscriptionsOf(readConfig({ WEBHOOK_SOLD_OUT_URL: url }))).toEqual([
      { notification: soldOut, url },
    ]);
  });

  test('without any nothing is written', () => {
    expect(recordDue([])).toEqual({ expression: '', column: `'{}'::text[] AS due` });
  });

  test('sold-out tells of the product from the event alone, and nothing of the stock’s reason', () => {
    const event = exampleEvent('StockAdjusted') as unknown as Event;
    expect(soldOut.tell(event)).toEqual({
      type: 'product.sold-out',
      timestamp: '2026-01-01T00:00:00.000Z',
      data: { eventId: event.id, productId: 'product-1', stockVersion: 2 },
    });
  });
});

describe('an answer', () => {
  test.each([
    [200, 'delivered'],
    [204, 'delivered'],
    [299, 'delivered'],
    [301, 'refused'],
    [304, 'refused'],
    [400, 'refused'],
    [401, 'refused'],
    [404, 'refused'],
    [410, 'refused'],
    [408, 'unavailable'],
    [425, 'unavailable'],
    [429, 'unavailable'],
    [500, 'unavailable'],
    [503, 'unavailable'],
  ])('with %d: %s', (status, kind) => {
    expect(judge(status, new Headers(), '')).toMatchObject({ kind });
  });

  test('that is a refusal is told with what the receiver said', () => {
    expect(judge(400, new Headers(), 'no such shop')).toEqual({
      kind: 'refused',
      detail: 'The receiver answered 400: no such shop',
    });
  });

  test.each([
    ['2', 2_000],
    ['0', 0],
    ['86400', 600_000],
    ['Fri, 27 Nov 2026 00:00:00 GMT', undefined],
    ['-1', undefined],
  ])('that asks to be tried again after %s: %s ms', (text, retryAfterMs) => {
    const outcome = judge(503, new Headers({ 'retry-after': text }), '');
    expect('retryAfterMs' in outcome ? outcome.retryAfterMs : undefined).toBe(retryAfterMs);
  });
});

test('a retry waits from half a second up to a minute, never all at the same moment', () => {
  const waits = [1, 2, 3, 5, 10, 1_000_000].map((attempt) =>
    Array.from({ length: 50 }, () => retryDelayMs(attempt)),
  );
  expect(waits.map((each) => Math.min(...each) >= 500)).not.toContain(false);
  expect(Math.max(...waits[0]!)).toBeLessThanOrEqual(1_000);
  expect(Math.max(...waits.at(-1)!)).toBeLessThanOrEqual(60_000);
  expect(Math.min(...waits.at(-1)!)).toBeGreaterThanOrEqual(30_000);
  expect(new Set(waits.at(-1)).size).toBeGreaterThan(10);
});

test('the more notifications wait for a receiver, the later each is tried again; those of others are not', async () => {
  const pool = { query: async () => ({ rowCount: 1, rows: [] }) } as unknown as Pool;
  const { notifyReceiver } = createNotificationActivities({
    pool,
    subscriptions: [],
    secret: undefined,
  });
  const event = JSON.stringify(exampleEvent('StockAdjusted'));
  const waitOf = async (name: string): Promise<number> => {
    const trying = new MockActivityEnvironment().run(notifyReceiver, name, event);
    const failure = (await trying.catch((error: unknown) => error)) as ApplicationFailure;
    return Number(failure.nextRetryDelay);
  };
  expect(await waitOf('away')).toBeLessThanOrEqual(1_000);
  for (let waiting = 0; waiting < 100; waiting += 1) await waitOf('away');
  expect(await waitOf('away')).toBeGreaterThan(60_000);
  expect(await waitOf('another')).toBeLessThanOrEqual(1_000);
});

describe('a message', () => {
  const secret = Buffer.alloc(32, 7);
  const now = new Date('2026-11-27T12:00:00.900Z');

  test('is signed over its ID, its time and its body, as Standard Webhooks has it', () => {
    const content = 'sold-out-1.1795780800.{}';
    expect(headersOf('sold-out-1', '{}', secret, now)).toEqual({
      'content-type': 'application/json',
      'idempotency-key': 'sold-out-1',
      'webhook-id': 'sold-out-1',
      'webhook-timestamp': '1795780800',
      'webhook-signature': `v1,${createHmac('sha256', secret).update(content).digest('base64')}`,
    });
  });

  test('has the signature of the specification’s own example', () => {
    const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
    const at = new Date(1_614_265_330_000);
    const headers = headersOf('msg_p5jXN8AQM9LWM0D4loKWxJek', '{"test": 2432232314}', key, at);
    expect(headers['webhook-signature']).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  test('is not signed without a secret', () => {
    expect(headersOf('id', '{}', undefined, now)).not.toHaveProperty('webhook-signature');
  });

  test('has a key that no other event’s has, fit for a header, whatever the event’s ID', () => {
    expect(webhookId('sold-out', '2f400afe-2b89-5ffc-b108-b6e098173a0c')).toBe(
      'sold-out-2f400afe-2b89-5ffc-b108-b6e098173a0c',
    );
    const printable = Array.from({ length: 0x7e - 0x20 }, (_, index) =>
      String.fromCharCode(0x21 + index),
    );
    const ids = [...printable, 'a.b', 'a%2Eb'].map((id) => webhookId('sold-out', id));
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[\w~!*'()%-]+$/.test(id))).toEqual([]);
  });
});

describe('an attempt', () => {
  const message = { id: 'key', body: '{}' };
  const attempt = (url: string, timeoutMs: number, signal = new AbortController().signal) =>
    sendWebhook({ ...message, url }, { secret: undefined, timeoutMs, signal });

  test('at a receiver that is away, does not answer, or whose worker stops may succeed later', async () => {
    const receiver = await startWebhookReceiver();
    try {
      receiver.answer = () => undefined;
      expect(await attempt(receiver.url, 100)).toEqual({
        kind: 'unavailable',
        detail: 'The receiver is unavailable: no answer in 100 ms.',
      });
      const stopping = new AbortController();
      const started = performance.now();
      setTimeout(() => stopping.abort(new Error('stopping')), 50);
      expect(await attempt(receiver.url, 60_000, stopping.signal)).toEqual({
        kind: 'unavailable',
        detail: 'The receiver is unavailable: stopping.',
      });
      expect(performance.now() - started).toBeLessThan(5_000);
      await receiver.leave();
      expect(await attempt(receiver.url, 5_000)).toMatchObject({
        kind: 'unavailable',
        detail: expect.stringMatching(/^The receiver is unavailable: .+\.$/) as string,
      });
    } finally {
      await receiver.stop();
    }
  });

  test('follows no redirect', async () => {
    const receiver = await startWebhookReceiver();
    try {
      receiver.answer = () => 307;
      expect(await attempt(receiver.url, 5_000)).toMatchObject({ kind: 'refused' });
      expect(receiver.requests).toHaveLength(1);
    } finally {
      await receiver.stop();
    }
  });
});
