import { setTimeout as sleep } from 'node:timers/promises';
import {
  ConnectionRejectedError,
  assertNotRejected,
  runStartupChecks,
  type StartupCheck,
} from '../../platform/dependencies/startup-checks';
import { ConfigurationError } from '../../platform/process/config';
import { createLogger } from '../../platform/observability/logger';
import { until } from '../../testkit/until';

const rejection = new ConnectionRejectedError('CREDENTIALS_REJECTED', 'No.', undefined);

const impatient = { timeoutMs: 50, retryIntervalMs: 1 };

/** A check that gives these answers, one at each try, and from then on the last one. */
function createCheck(...answers: ('open' | 'away' | 'refused' | 'silent')[]) {
  let tries = 0;
  const check: StartupCheck = {
    server: 'a server',
    async run() {
      const answer = answers[Math.min(tries, answers.length - 1)];
      tries += 1;
      if (answer === 'refused') throw rejection;
      if (answer === 'away') throw new Error('nobody answers');
      if (answer === 'silent') await new Promise(() => undefined);
    },
  };
  return { check, tries: () => tries };
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

test('a process that every server accepts starts at once, and checks no more', async () => {
  const context = createProcess();
  const { check, tries } = createCheck('open');

  await runStartupChecks(context, [check], impatient);
  await sleep(20);

  expect(tries()).toBe(1);
  expect(context.fail).not.toHaveBeenCalled();
});

test('what is wrong with our own configuration is not taken for an absence', async () => {
  const problem = new ConfigurationError('REDIS_TLS_CA_FILE cannot be read.');
  const check: StartupCheck = { server: 'a server', run: () => Promise.reject(problem) };

  await expect(assertNotRejected([check])).rejects.toBe(problem);
});

test('a no comes before the process begins', async () => {
  const asked = runStartupChecks(createProcess(), [
    createCheck('open').check,
    createCheck('refused').check,
  ]);

  await expect(asked).rejects.toBe(rejection);
});

test('an unavailable server prevents no start, and its later rejection still ends the process', async () => {
  const context = createProcess();

  await runStartupChecks(context, [createCheck('away', 'away', 'refused').check], impatient);
  await until('the process fails', () => context.fail.mock.calls.length > 0);

  expect(context.fail.mock.calls).toEqual([[rejection]]);
});

test('a server that says nothing keeps nobody from beginning for long', async () => {
  const begun = runStartupChecks(createProcess(), [createCheck('silent').check], impatient);

  await expect(begun).resolves.toBe(undefined);
});

test('a process that stops asks no more', async () => {
  const context = createProcess();
  const { check, tries } = createCheck('away');
  await runStartupChecks(context, [check], impatient);
  await until('it has asked again', () => tries() > 2);

  await context.stop();
  const asked = tries();
  await sleep(20);

  expect(tries()).toBeLessThanOrEqual(asked + 1);
});

test('whoever does one thing and ends learns of a no, and of an absence later', async () => {
  await expect(assertNotRejected([createCheck('away').check])).resolves.toBe(undefined);
  await expect(assertNotRejected([createCheck('refused').check])).rejects.toBe(rejection);
});
