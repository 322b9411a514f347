/** Whom the watchdog of the workflow sandbox reports, by what the sandbox's thread notes. */
import {
  createSandboxCalls,
  watchCalls,
  WorkflowBlockedError,
} from '../../platform/temporal/lean-sandbox/watchdog';

const run = { workflowType: 'placeOrder', workflowId: 'order-주문', runId: 'run-1' };

beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

/** A sandbox, with what its thread does when a call begins and when it ends. */
function createSandbox() {
  const calls = createSandboxCalls();
  const onBlocked = jest.fn<void, [WorkflowBlockedError]>();
  const stop = watchCalls(calls, { limitMs: 5_000, onBlocked });
  const text = Buffer.from(JSON.stringify(run));
  calls.workflow.set(text);
  Atomics.store(calls.state, 1, text.byteLength);
  const begin = (): void => void Atomics.add(calls.state, 0, 1);
  const end = (): void => void Atomics.add(calls.state, 0, 1);
  return { onBlocked, stop, begin, end };
}

test('a workflow that has not given way for the limit is named, once', () => {
  const { onBlocked, begin } = createSandbox();
  begin();
  jest.advanceTimersByTime(4_999);
  expect(onBlocked).not.toHaveBeenCalled();

  jest.advanceTimersByTime(60_000);

  expect(onBlocked).toHaveBeenCalledTimes(1);
  const [error] = onBlocked.mock.calls[0]!;
  expect(error).toBeInstanceOf(WorkflowBlockedError);
  expect(error).toMatchObject({ code: 'WORKFLOW_BLOCKED', ...run });
  expect(error.message).toContain('The workflow placeOrder with the ID order-주문 (run run-1)');
  expect(error.message).toContain('for 5 s');
});

test('a sandbox that is never idle is none that is blocked', () => {
  const { onBlocked, begin, end } = createSandbox();
  for (let second = 0; second < 60; second += 1) {
    begin();
    jest.advanceTimersByTime(1_000);
    end();
  }
  expect(onBlocked).not.toHaveBeenCalled();
});

test('an idle sandbox is none that is blocked, however many calls it has had', () => {
  const { onBlocked, begin, end } = createSandbox();
  begin();
  end();
  jest.advanceTimersByTime(60_000);
  expect(onBlocked).not.toHaveBeenCalled();
});

test('the time for which the whole process was suspended does not count', () => {
  const { onBlocked, begin, end } = createSandbox();
  begin();
  jest.advanceTimersByTime(2_000);
  // The clock goes on, and whatever was due meanwhile runs once.
  jest.setSystemTime(Date.now() + 60_000);
  jest.advanceTimersByTime(1_000);
  end();
  jest.advanceTimersByTime(60_000);
  expect(onBlocked).not.toHaveBeenCalled();
});

test('nobody is reported once the watch is over', () => {
  const { onBlocked, stop, begin } = createSandbox();
  begin();
  stop();
  jest.advanceTimersByTime(60_000);
  expect(onBlocked).not.toHaveBeenCalled();
});
