import { setTimeout as sleep } from 'node:timers/promises';
import {
  AccessRefusedError,
  assertNotRefused,
  assureAccess,
  type Door,
} from '../../platform/dependencies/startup-checks';
import { ConfigurationError } from '../../platform/process/config';
import { createLogger } from '../../platform/observability/logger';
import { until } from '../../testkit/until';

const refusal = new AccessRefusedError('CREDENTIALS_REFUSED', 'No.', undefined);

const impatient = { firstAnswerMs: 50, retryMs: 1 };

/** A door that gives these answers, one at each try, and from then on the last one. */
function createDoor(...answers: ('open' | 'away' | 'refused' | 'silent')[]) {
  let tries = 0;
  const door: Door = {
    server: 'a server',
    async open() {
      const answer = answers[Math.min(tries, answers.length - 1)];
      tries += 1;
      if (answer === 'refused') throw refusal;
      if (answer === 'away') throw new Error('nobody answers');
      if (answer === 'silent') await new Promise(() => undefined);
    },
  };
  return { door, tries: () => tries };
}

function createProcess() {
  const stops: (() => Promise<unknown>)[] = [];
  return {
    logger: createLogger('test', 'silent'),
    onStop: (_what: string, stop: () => Promise<unknown>) => void stops.push(stop),
    fail: jest.fn(),
    stop: () => Promise.all(stops.map((each) => each())),
  };
}

test('a process that is let in everywhere begins at once, and asks no more', async () => {
  const process = createProcess();
  const { door, tries } = createDoor('open');

  await assureAccess(process, [door], impatient);
  await sleep(20);

  expect(tries()).toBe(1);
  expect(process.fail).not.toHaveBeenCalled();
});

test('what is wrong with our own configuration is not taken for an absence', async () => {
  const problem = new ConfigurationError('REDIS_TLS_CA_FILE cannot be read.');
  const door: Door = { server: 'a server', open: () => Promise.reject(problem) };

  await expect(assertNotRefused([door])).rejects.toBe(problem);
});

test('a no comes before the process begins', async () => {
  const asked = assureAccess(createProcess(), [
    createDoor('open').door,
    createDoor('refused').door,
  ]);

  await expect(asked).rejects.toBe(refusal);
});

test('a server that is away keeps nobody from beginning, and its no still ends the process', async () => {
  const process = createProcess();

  await assureAccess(process, [createDoor('away', 'away', 'refused').door], impatient);
  await until('the process fails', () => process.fail.mock.calls.length > 0);

  expect(process.fail.mock.calls).toEqual([[refusal]]);
});

test('a server that says nothing keeps nobody from beginning for long', async () => {
  const begun = assureAccess(createProcess(), [createDoor('silent').door], impatient);

  await expect(begun).resolves.toBe(undefined);
});

test('a process that stops asks no more', async () => {
  const process = createProcess();
  const { door, tries } = createDoor('away');
  await assureAccess(process, [door], impatient);
  await until('it has asked again', () => tries() > 2);

  await process.stop();
  const asked = tries();
  await sleep(20);

  expect(tries()).toBeLessThanOrEqual(asked + 1);
});

test('whoever does one thing and ends learns of a no, and of an absence later', async () => {
  await expect(assertNotRefused([createDoor('away').door])).resolves.toBe(undefined);
  await expect(assertNotRefused([createDoor('refused').door])).rejects.toBe(refusal);
});
