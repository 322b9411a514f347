/**
 * A view is answered once it is in the spool, goes to Kafka beside that or later, and none is lost
 * without being counted.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { createViewPublisher, type ViewEvent } from '../../api/products/view-publisher';
import { parseMessage } from '../../events/parse';
import { openSpool, type Spool } from '../../platform/disk/spool';
import type { KafkaSender, OutgoingMessage } from '../../platform/kafka/sender';
import { views as countedViews, viewsUnspooled } from '../../platform/observability/telemetry';
import { until } from '../../testkit/until';

interface Sending {
  readonly message: OutgoingMessage;
  acknowledge(): void;
  fail(): void;
}

const logger = pino({ level: 'silent' });
let directory: string;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'views-'));
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
  await rm(directory, { recursive: true });
});

async function setUp({ maxBytes = 1024 * 1024 } = {}) {
  const sendings: Sending[] = [];
  const handedOver: ViewEvent[] = [];
  const state = { isConnected: true, isTemporalThere: true, failingHandOvers: 0 };
  const sender: KafkaSender = {
    send: ([message]) =>
      new Promise((resolve, reject) => {
        sendings.push({
          message: message!,
          acknowledge: () => resolve([]),
          fail: () => reject(new Error('brokers are away')),
        });
      }),
    isConnected: () => state.isConnected,
    stop: async () => undefined,
  };
  const handOver = async (views: readonly ViewEvent[]): Promise<void> => {
    if (!state.isTemporalThere) throw new Error('Temporal is away');
    if (state.failingHandOvers-- > 0) throw new Error('Temporal refuses these');
    handedOver.push(...views);
  };
  const spool = await openSpool(directory, logger, { maxBytes });
  const views = createViewPublisher({ sender, spool, handOver, logger });
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= views.stop().then(() => spool.stop()));
  cleanUps.push(async () => {
    for (const sending of sendings) sending.fail();
    await stop();
  });
  /** Views are gathered for a moment before they are sent. */
  const sending = async (index: number): Promise<Sending> => {
    await until('it is sent', () => sendings.length > index);
    return sendings[index]!;
  };
  return { views, sendings, sending, handedOver, spool, state, stop };
}

const eventOf = ({ message }: Sending) => JSON.parse(message.value as string) as ViewEvent;

async function waysCounted(): Promise<Record<string, number>> {
  const { values } = await countedViews.get();
  return Object.fromEntries(values.map(({ labels, value }) => [labels.way, value]));
}

/** What the spool still has. */
async function inSpool(spool: Spool): Promise<string[]> {
  const ids: string[] = [];
  for await (const records of spool.left({ evenHeld: true })) {
    ids.push(...records.map(({ line }) => (JSON.parse(line) as ViewEvent).id));
  }
  return ids;
}

beforeEach(() => {
  countedViews.reset();
  viewsUnspooled.reset();
});

test('a view is sent as an event that the collector accepts', async () => {
  const { views, sending } = await setUp();
  await views.publish('tea', 'ann');
  const { topic, key, value } = (await sending(0)).message;
  const event = parseMessage({
    topic,
    key: Buffer.from(key as string),
    value: Buffer.from(value as string),
  });
  expect(event).toMatchObject({ type: 'ProductViewed', data: { productId: 'tea', userId: 'ann' } });
});

test('a view by nobody in particular names no user', async () => {
  const { views, sending } = await setUp();
  await views.publish('tea');
  expect(eventOf(await sending(0)).data).toEqual({ productId: 'tea' });
});

test('two views are two events', async () => {
  const { views, sendings, sending } = await setUp();
  await Promise.all([views.publish('tea', 'ann'), views.publish('tea', 'ann')]);
  await sending(1);
  expect(new Set(sendings.map((each) => eventOf(each).id)).size).toBe(2);
});

test('a view is in the spool before it is answered, until Kafka has acknowledged it', async () => {
  const { views, sendings, sending, spool } = await setUp();
  await views.publish('tea');
  await views.publish('pot');
  (await sending(1)).acknowledge();
  await until('it is counted', async () => (await waysCounted())['direct'] === 1);
  expect(await inSpool(spool)).toEqual([eventOf(sendings[0]!).id]);
});

test('a view that was refused is sent again from the spool, under the same ID', async () => {
  const { views, sendings, sending, spool } = await setUp();
  await views.publish('tea');
  (await sending(0)).fail();
  await until('it is sent again', () => sendings.length === 2);
  expect(eventOf(sendings[1]!)).toEqual(eventOf(sendings[0]!));
  (await sending(1)).acknowledge();
  await until('the spool is empty', () => spool.bytes === 0);
  expect(await waysCounted()).toEqual({ spool: 1 });
});

test('while Kafka is unavailable nothing is attempted, and all of it when it is back', async () => {
  const { views, sendings, state } = await setUp();
  state.isConnected = false;
  await Promise.all(['tea', 'pot', 'lamp'].map((product) => views.publish(product)));
  expect(sendings).toHaveLength(0);
  state.isConnected = true;
  await until('all are sent', () => sendings.length === 3);
  expect(sendings.map((each) => eventOf(each).subject).toSorted()).toEqual(['lamp', 'pot', 'tea']);
});

test('views that wait for the brokers in memory are bounded in number', async () => {
  const { views, sendings, sending } = await setUp({ maxBytes: 16 * 1024 * 1024 });
  await Promise.all(Array.from({ length: 10_005 }, () => views.publish('tea')));
  await sending(9_999);
  expect(sendings).toHaveLength(10_000);
});

test('beyond the bytes of the spool a view still goes to Kafka, and is counted as unprotected', async () => {
  const { views, sending } = await setUp({ maxBytes: 1 });
  await views.publish('tea');
  (await sending(0)).acknowledge();
  await until('it is counted', async () => (await waysCounted())['direct'] === 1);
  expect((await viewsUnspooled.get()).values[0]!.value).toBe(1);
});

test('what neither the spool nor Kafka takes is counted as dropped', async () => {
  const { views, sending, state } = await setUp({ maxBytes: 1 });
  await views.publish('tea');
  (await sending(0)).fail();
  state.isConnected = false;
  await views.publish('pot');
  await until('both are counted', async () => (await waysCounted())['dropped'] === 2);
});

describe('stopping', () => {
  test('says that views are left only where some are', async () => {
    const warn = jest.spyOn(logger, 'warn');
    const acknowledged = await setUp();
    await acknowledged.views.publish('tea');
    (await acknowledged.sending(0)).acknowledge();
    await acknowledged.stop();
    expect(warn).not.toHaveBeenCalled();

    const refused = await setUp();
    refused.state.isTemporalThere = false;
    await refused.views.publish('tea');
    (await refused.sending(0)).fail();
    await refused.stop();
    expect(warn).toHaveBeenCalledWith(expect.anything(), 'views are left in the spool');
    warn.mockRestore();
  });

  test('waits for what is on its way, and hands over what Kafka refuses', async () => {
    const { views, sending, handedOver, stop } = await setUp();
    await Promise.all([views.publish('tea'), views.publish('pot')]);
    const stopped = stop();
    (await sending(0)).acknowledge();
    (await sending(1)).fail();
    await stopped;
    expect(handedOver.map(({ subject }) => subject)).toEqual(['pot']);
    expect(await waysCounted()).toEqual({ direct: 1, workflow: 1 });
  });

  test('hands over what is not acknowledged in time', async () => {
    const { views, handedOver, stop } = await setUp();
    await views.publish('tea');
    await stop();
    expect(handedOver.map(({ subject }) => subject)).toEqual(['tea']);
  }, 15_000);

  test('hands over the others when some are refused, and leaves those to the next process', async () => {
    const { views, handedOver, state, spool, stop } = await setUp();
    Object.assign(state, { isConnected: false, failingHandOvers: 1 });
    await Promise.all(Array.from({ length: 600 }, () => views.publish('tea')));
    await stop();
    expect(handedOver).toHaveLength(100);
    expect(spool.bytes).toBeGreaterThan(0);
    expect(await waysCounted()).toEqual({ workflow: 100 });
  });

  test('hands over a view whose write is still under way', async () => {
    const { views, handedOver, state, stop } = await setUp();
    state.isConnected = false;
    const published = views.publish('tea');
    await stop();
    await published;
    expect(handedOver).toHaveLength(1);
  });

  test('leaves what nobody takes to the next process', async () => {
    const { views, state, stop } = await setUp();
    Object.assign(state, { isConnected: false, isTemporalThere: false });
    await views.publish('tea');
    await stop();
    const next = await setUp();
    await until('it is sent', () => next.sendings.length === 1);
    expect(eventOf(next.sendings[0]!).subject).toBe('tea');
  });
});
