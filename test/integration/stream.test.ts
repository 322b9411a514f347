/** The stream of handled events: what a client gets that comes and goes, is slow, or stays while servers go. */
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createEventReader,
  type ServerSentEvent,
} from '../../api/dashboard/client/server-sent-events';
import { placeOf, writePosition } from '../../api/stream/handled-events';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

let stack: Stack;
let api: RunningProcess;
let url: string;

beforeAll(async () => {
  stack = await createStack([]);
  await startApi();
}, 60_000);

afterAll(() => stack?.stop());

async function startApi(): Promise<void> {
  api = await stack.start('api');
  ({ url } = api);
}

/** A client of the stream, as far as it has read. */
interface StreamClient {
  /** Reads until what it has read is enough, or the stream ends. */
  readUntil(enough: (events: readonly ServerSentEvent[]) => boolean): Promise<ServerSentEvent[]>;
  /** Goes away without a word. */
  leave(): void;
}

async function open(lastEventId?: string, query = ''): Promise<IncomingMessage> {
  const headers: Record<string, string> = { authorization: 'Bearer dev-operator-key' };
  if (lastEventId !== undefined) headers['last-event-id'] = lastEventId;
  const request = get(`${url}/v1/stream${query}`, { headers, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response;
}

async function connect(lastEventId?: string, query?: string): Promise<StreamClient> {
  const response = await open(lastEventId, query);
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
  const pieces = response.setEncoding('utf8')[Symbol.asyncIterator]();
  const read = createEventReader();
  const events: ServerSentEvent[] = [];
  return {
    async readUntil(enough) {
      while (!enough(events)) {
        const piece = (await pieces.next()) as IteratorResult<string, undefined>;
        if (piece.done === true) break;
        events.push(...read(piece.value));
      }
      return [...events];
    },
    leave: () => response.destroy(),
  };
}

const isReady = (events: readonly ServerSentEvent[]) => events.some(({ type }) => type === 'ready');

const idsOf = (events: readonly ServerSentEvent[]): string[] =>
  events
    .filter(({ type }) => type === 'handled')
    .map(({ data }) => (JSON.parse(data) as { eventId: string }).eventId);

const placeIn = (events: readonly ServerSentEvent[]): string | undefined =>
  events.findLast(({ id }) => id !== undefined)?.id;

/** Marks events as handled, as the collector does, in a transaction that the caller ends. */
const handleStatement = `
  WITH logged AS (
    INSERT INTO collector.event_log
      (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
    SELECT event_id, 'ProductViewed', 'catalog-events', 0, 0, 'tea', now(), '{}'
    FROM unnest($1::text[]) AS event_id
  )
  INSERT INTO collector.event_handled (event_id, workflow_id)
  SELECT event_id, event_id FROM unnest($1::text[]) AS event_id`;

async function handle(ids: readonly string[]): Promise<void> {
  await stack.pool.query(handleStatement, [ids]);
}

test('a client that reconnects repeatedly gets every event once, however late it is committed', async () => {
  const first = await connect();
  let place = placeIn(await first.readUntil(isReady));
  first.leave();

  const committed: string[] = [];
  const holdOn = await stack.pool.connect();
  await holdOn.query('BEGIN');
  await holdOn.query(handleStatement, [['committed-last']]);
  const write = async (writer: number): Promise<void> => {
    const connection = await stack.pool.connect();
    for (let turn = 0; turn < 40; turn += 1) {
      const ids = Array.from({ length: 1 + (turn % 3) }, (_, n) => `${writer}-${turn}-${n}`);
      await connection.query('BEGIN');
      await connection.query(handleStatement, [ids]);
      // Commits come in another order than the writes.
      await sleep((writer * 7 + turn * 13) % 60);
      const givenUp = (writer + turn) % 9 === 0;
      await connection.query(givenUp ? 'ROLLBACK' : 'COMMIT');
      if (!givenUp) committed.push(...ids);
    }
    connection.release();
  };
  const writing = Promise.all([1, 2, 3, 4, 5, 6].map(write));

  const seen: string[] = [];
  let visits = 0;
  let written = false;
  void writing.then(() => (written = true));
  while (!written || seen.length < committed.length) {
    visits += 1;
    const client = await connect(place);
    const some = 1 + ((visits * 11) % 23);
    const events = await client.readUntil((read) => {
      const count = idsOf(read).length;
      return count >= some || (written && seen.length + count >= committed.length);
    });
    client.leave();
    // What came in the same piece counts only as far as the client has taken it.
    const upTo = events.findIndex((_, index) => idsOf(events.slice(0, index + 1)).length >= some);
    const taken = upTo < 0 ? events : events.slice(0, upTo + 1);
    seen.push(...idsOf(taken));
    place = placeIn(taken) ?? place;
  }
  // An open transaction delays no other events.
  expect(seen.toSorted()).toEqual(committed.toSorted());
  expect(visits).toBeGreaterThan(5);

  await holdOn.query('COMMIT');
  holdOn.release();
  const last = await connect(place);
  expect(idsOf(await last.readUntil((events) => idsOf(events).length > 0))).toEqual([
    'committed-last',
  ]);
  last.leave();
}, 90_000);

test('a client that reads slowly gets all of it, and holds up nobody', async () => {
  const slow = await connect();
  await slow.readUntil(isReady);
  const quick = await connect();
  await quick.readUntil(isReady);
  const count = 30_000;
  await handle(Array.from({ length: count }, (_, n) => `many-${n}`));
  const ofQuick = idsOf(await quick.readUntil((events) => events.length > count));
  expect(new Set(ofQuick).size).toBe(count);
  quick.leave();
  // By now the server has forgotten most of them.
  const ofSlow = idsOf(await slow.readUntil((events) => events.length > count));
  expect(ofSlow).toHaveLength(count);
  expect(new Set(ofSlow).size).toBe(count);
  slow.leave();
}, 60_000);

test('a stream begins with as many events of before as are asked for, the oldest first', async () => {
  for (const id of ['before-1', 'before-2', 'before-3']) await handle([id]);
  const client = await connect(undefined, '?recent=2');
  expect(idsOf(await client.readUntil(isReady))).toEqual(['before-2', 'before-3']);
  client.leave();
});

test('a place of another database is not gone on from, and what is no place is refused', async () => {
  const elsewhere = writePosition(placeOf('999999999:999999999:'));
  const client = await connect(elsewhere);
  const [ready] = await client.readUntil(isReady);
  expect(JSON.parse(ready?.data ?? '')).toEqual({ anew: true });
  await handle(['after-anew']);
  const events = await client.readUntil((read) => idsOf(read).length > 0);
  expect(idsOf(events)).toEqual(['after-anew']);
  client.leave();
  for (const nonsense of ['x', writePosition(placeOf('5:3:')), writePosition(placeOf('5:9:7,6'))]) {
    const response = await open(nonsense);
    expect(response.statusCode).toBe(400);
    response.destroy();
  }
});

test('only so many streams are open at once, and one that is left makes room', async () => {
  const opened: IncomingMessage[] = [];
  const tryOne = async (): Promise<IncomingMessage | undefined> => {
    const response = await open();
    if (response.statusCode !== 200) return response;
    opened.push(response);
    return undefined;
  };
  let refused: IncomingMessage | undefined;
  while (refused === undefined && opened.length < 100) refused = await tryOne();
  expect(opened).toHaveLength(64);
  expect(JSON.parse(await text(refused!))).toMatchObject({ status: 503, code: 'TOO_MANY_STREAMS' });
  opened.pop()?.destroy();
  await until('there is room again', async () => (await tryOne()) === undefined);
  for (const response of opened) response.destroy();
});

test('an outage of the database is reported, and what was handled around it arrives', async () => {
  const client = await connect();
  await client.readUntil(isReady);
  const outages = (events: readonly ServerSentEvent[]) =>
    events
      .filter(({ type }) => type === 'outage')
      .map(({ data }) => (JSON.parse(data) as { since: string | null }).since);
  await stack.cluster.stop('postgres');
  try {
    const away = outages(await client.readUntil((events) => outages(events).length > 0));
    expect(away).toEqual([expect.stringMatching(/^\d{4}-/)]);
  } finally {
    await stack.cluster.start('postgres');
  }
  await until('PostgreSQL takes writes again', () => handle(['after-outage']).then(() => true));
  const events = await client.readUntil((read) => idsOf(read).includes('after-outage'));
  expect(outages(events)).toEqual([expect.any(String), null]);
  client.leave();
}, 90_000);

test('a server that stops ends its streams, and their clients resume with another', async () => {
  // One client takes nothing any more, and has more to take than fits on the way to it.
  const stalled = await open();
  await handle(Array.from({ length: 40_000 }, (_, n) => `never-taken-${n}`));
  const client = await connect();
  await client.readUntil(isReady);
  await handle(['before-stop']);
  const events = await client.readUntil((read) => idsOf(read).includes('before-stop'));
  const ended = client.readUntil(() => false);
  // With what it has written, to tell why if not.
  expect([await api.end(), api.output()]).toEqual([0, expect.any(String)]);
  await ended;
  stalled.destroy();
  await handle(['while-away']);
  await startApi();
  const next = await connect(placeIn(events));
  expect(idsOf(await next.readUntil((read) => idsOf(read).length > 0))).toEqual(['while-away']);
  next.leave();
}, 60_000);
