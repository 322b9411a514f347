import type { Info } from '@temporalio/activity';
import type { ActivityExecuteInput } from '@temporalio/worker';
import { createHeartbeatInterceptor } from '../../workers/heartbeat';

const input = {} as ActivityExecuteInput;

function activity(heartbeatTimeoutMs?: number) {
  const heartbeat = jest.fn();
  const info = { heartbeatTimeoutMs } as Info;
  const { execute } = createHeartbeatInterceptor({ info, heartbeat });
  return { heartbeat, execute: execute! };
}

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  jest.useRealTimers();
});

it('an activity beats three times within its time-out, for as long as it is under way', async () => {
  const { heartbeat, execute } = activity(9_000);
  let finish!: (result: unknown) => void;
  const working = execute(input, () => new Promise((resolve) => (finish = resolve)));
  jest.advanceTimersByTime(9_000);
  expect(heartbeat).toHaveBeenCalledTimes(3);
  finish('done');
  await expect(working).resolves.toBe('done');
  jest.advanceTimersByTime(9_000);
  expect(heartbeat).toHaveBeenCalledTimes(3);
});

it('an activity that fails beats no longer', async () => {
  const { heartbeat, execute } = activity(9_000);
  await expect(execute(input, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  jest.advanceTimersByTime(9_000);
  expect(heartbeat).not.toHaveBeenCalled();
});

it('an activity without a heartbeat time-out does not beat', async () => {
  const { heartbeat, execute } = activity();
  const working = execute(input, async () => {
    jest.advanceTimersByTime(60_000);
    return Promise.resolve();
  });
  await working;
  expect(heartbeat).not.toHaveBeenCalled();
});
