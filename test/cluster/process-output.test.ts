/** What of a process's output is shown on the console of `npm start`. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { openOutputLog } from '../../cluster/process-output';
import { until } from '../../testkit/until';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'process-output-test-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

async function shownOf(lines: readonly Record<string, unknown>[]): Promise<string[]> {
  const shown: string[] = [];
  const file = join(directory, 'process.log');
  const log = openOutputLog(file, (text) => shown.push(text));
  const [output, errors] = [new PassThrough(), new PassThrough()];
  log.follow(output, errors);
  output.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  errors.end();
  await until('all lines are in the file', async () => {
    const text = await readFile(file, 'utf8').catch(() => '');
    return text.split('\n').length > lines.length;
  });
  await log.close();
  return shown;
}

const refused = 'connect ECONNREFUSED 127.0.0.1:9092';

it('an outage is one line, and so is its end', async () => {
  const err = { message: `${refused}: ${refused}` };

  expect(
    await shownOf([
      { level: 40, msg: 'Kafka unavailable; polling until it answers', err },
      { level: 40, msg: 'Kafka send failed', err },
      { level: 30, msg: 'Kafka: Failed to connect to seed broker' },
      { level: 40, msg: 'Kafka unavailable; reconnecting with backoff', err },
      { level: 30, msg: 'Kafka available again' },
    ]),
  ).toEqual([
    `warning: Kafka unavailable; polling until it answers: ${refused}`,
    'Kafka available again',
  ]);
});

it('different causes are each shown', async () => {
  const lines = ['no route', 'no right'].map((message) => ({
    level: 50,
    msg: 'cannot read',
    err: { message },
  }));

  expect(await shownOf(lines)).toEqual([
    'error: cannot read: no route',
    'error: cannot read: no right',
  ]);
});

it('a failed activity is named, with its workflow, its attempt and the reason', async () => {
  const temporal = {
    activityType: 'publishOutbox',
    attempt: 2,
    error: { type: 'KAFKA_UNAVAILABLE' },
  };

  expect(
    await shownOf([{ level: 40, msg: 'Activity failed', workflowId: 'order-1', temporal }]),
  ).toEqual(['warning: activity publishOutbox of order-1 failed (attempt 2): KAFKA_UNAVAILABLE']);
});
