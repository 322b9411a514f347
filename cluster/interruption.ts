/** Ctrl-C, SIGTERM and a closed terminal: the first stops gracefully, the second at once. */
import { ClusterError } from './errors';

/** Handlers of the first and the second signal. */
export interface InterruptionOptions {
  /** Called on the first signal. */
  readonly onFirst: (signal: NodeJS.Signals) => void;
  /** Called on the second signal: must end the process at once. */
  readonly onSecond: () => void;
}

/**
 * npm forwards a Ctrl-C that the terminal has already sent to this process: a signal this soon
 * after the first is a duplicate.
 */
const sameSignalWithinMs = 500;

/** Aborted by the first signal, with a `ClusterError` `INTERRUPTED`. */
export function listenForInterruption(options: InterruptionOptions): AbortSignal {
  const controller = new AbortController();
  let firstAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      options.onFirst(signal);
      controller.abort(new ClusterError('INTERRUPTED', `Interrupted by ${signal}.`));
    } else if (performance.now() - firstAt > sameSignalWithinMs) {
      options.onSecond();
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  return controller.signal;
}
