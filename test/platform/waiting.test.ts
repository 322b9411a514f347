import { spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import {
  createBackoff,
  orAborted,
  pause,
  pollUntil,
  resultWithin,
  TimeoutError,
  withJitter,
  withTimeout,
} from '../../platform/process/waiting';

/** So long that a test which waits for it fails. */
const far = 3_600_000;
const never = new Promise<never>(() => undefined);
const reason = new Error('the process stops');

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

test('nothing keeps a process alive once it has settled', async () => {
  const program = `
    const waiting = require('./platform/process/waiting');
    const stopping = new AbortController();
    waiting.pause(${far}, stopping.signal);
    waiting.withTimeout(new Promise(() => undefined), ${far}, stopping).catch(() => undefined);
    waiting.withTimeout(Promise.resolve(), ${far});
    waiting.resultWithin(Promise.resolve(), ${far});
    waiting.pollUntil(() => true, { timeoutMs: ${far}, pollMs: ${far} });
    stopping.abort();`;
  const child = spawn(process.execPath, ['--require', './typescript.cjs', '-e', program]);
  await once(child, 'exit', { signal: AbortSignal.timeout(15_000) }).finally(() => child.kill());
  expect(child.exitCode).toBe(0);
});

describe('a pause', () => {
  test('lasts as long as it was told', async () => {
    const from = performance.now();
    await pause(30);
    // Timers count in whole milliseconds.
    expect(performance.now() - from).toBeGreaterThanOrEqual(29);
  });

  test('ends with its signal, and that is no failure', async () => {
    const stopping = new AbortController();
    const paused = pause(far, stopping.signal);
    stopping.abort(reason);
    await expect(paused).resolves.toBe(undefined);
    await expect(pause(far, stopping.signal)).resolves.toBe(undefined);
  });
});

describe('a timeout', () => {
  test('leaves in-time work its result and its failure', async () => {
    await expect(withTimeout(Promise.resolve(7), far)).resolves.toBe(7);
    await expect(withTimeout(Promise.reject(reason), far)).rejects.toBe(reason);
  });

  test('rejects with a code once the time is over', async () => {
    const late = withTimeout(never, 5);
    await expect(late).rejects.toBeInstanceOf(TimeoutError);
    await expect(late).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'no answer within 5 ms',
    });
    await expect(withTimeout(never, 5, { message: 'too slow' })).rejects.toThrow('too slow');
  });

  test('ends with its signal, for its reason, and leaves no listener there', async () => {
    const { signal, abort } = controller();
    await withTimeout(Promise.resolve(), far, { signal });
    await expect(withTimeout(never, 5, { signal })).rejects.toBeInstanceOf(TimeoutError);
    expect(listenersOf(signal)).toBe(0);
    const waiting = withTimeout(never, far, { signal });
    abort();
    await expect(waiting).rejects.toBe(reason);
    expect(listenersOf(signal)).toBe(0);
  });

  test('hears of no failure that comes too late', async () => {
    const unhandled = jest.fn();
    process.once('unhandledRejection', unhandled);
    const failing = pause(10).then(() => Promise.reject(reason));
    await expect(withTimeout(failing, 1)).rejects.toBeInstanceOf(TimeoutError);
    await pause(20);
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });
});

describe('a result within a time', () => {
  test('is that of the work when it comes in time', async () => {
    await expect(resultWithin(Promise.resolve('done'), far, 'late')).resolves.toBe('done');
    await expect(resultWithin(Promise.reject(reason), far, 'late')).rejects.toBe(reason);
  });

  test('is the other one when the time is over', async () => {
    await expect(resultWithin(never, 5, 'late')).resolves.toBe('late');
  });
});

describe('work or an abort', () => {
  test('settles as the work does, however often, and leaves no listener behind', async () => {
    const { signal } = controller();
    for (let time = 0; time < 100; time += 1) await orAborted(Promise.resolve(time), signal);
    await expect(orAborted(Promise.reject(reason), signal)).rejects.toBe(reason);
    expect(listenersOf(signal)).toBe(0);
  });

  test('rejects with the reason, also when it was aborted before', async () => {
    const { signal, abort } = controller();
    const waiting = orAborted(never, signal);
    abort();
    await expect(waiting).rejects.toBe(reason);
    await expect(orAborted(never, signal)).rejects.toBe(reason);
  });
});

describe('a backoff', () => {
  test('doubles up to its bound, and begins anew after a success', () => {
    const backoff = createBackoff({ firstMs: 200, longestMs: 1_500 });
    const next = (count: number) => Array.from({ length: count }, () => backoff.next());
    expect(next(5)).toEqual([200, 400, 800, 1_500, 1_500]);
    backoff.reset();
    expect(next(2)).toEqual([200, 400]);
  });

  test('with jitter waits between half of its time and all of it, never twice the same', () => {
    const waits = Array.from({ length: 100 }, () => withJitter(1_000_000));
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(500_000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(1_000_000);
    expect(new Set(waits).size).toBeGreaterThan(50);
  });
});

describe('polling', () => {
  test('looks until it sees something true, and answers that', async () => {
    let looks = 0;
    const look = () => (++looks < 3 ? undefined : `look ${looks}`);
    await expect(pollUntil(look, { timeoutMs: far, pollMs: 1 })).resolves.toBe('look 3');
  });

  test('answers nothing once the time is over, and has looked at least once', async () => {
    const look = jest.fn(async () => false);
    await expect(pollUntil(look, { timeoutMs: 0, pollMs: 1 })).resolves.toBe(undefined);
    expect(look).toHaveBeenCalledTimes(1);
  });

  test('fails as a look does', async () => {
    const look = () => Promise.reject(reason);
    await expect(pollUntil(look, { timeoutMs: far, pollMs: 1 })).rejects.toBe(reason);
  });

  test('ends with its signal in the middle of a pause, for its reason', async () => {
    const { signal, abort } = controller();
    let looks = 0;
    const look = () => {
      looks += 1;
      setImmediate(abort);
      return false;
    };
    await expect(pollUntil(look, { timeoutMs: far, pollMs: far, signal })).rejects.toBe(reason);
    expect(looks).toBe(1);
  });
});

function controller() {
  const stopping = new AbortController();
  return { signal: stopping.signal, abort: () => stopping.abort(reason) };
}
