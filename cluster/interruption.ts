/** Ctrl-C, SIGTERM and a closed terminal: the first stops gracefully, the second at once. */
import { ClusterError } from './errors';

/** What to do when a person, or the system, wants an end. */
export interface InterruptionOptions {
  /** Is told of the first signal. */
  readonly onFirst: (signal: NodeJS.Signals) => void;
  /** Ends the process: the person does not want to wait. */
  readonly onSecond: () => void;
}

/**
 * npm passes a terminal's Ctrl-C on to a process that the terminal has sent it to already. What comes
 * this soon after the first signal is no second wish.
 */
const SAME_SIGNAL_WITHIN_MS = 500;

/** Aborted by the first signal, with a `ClusterError` `INTERRUPTED`. */
export function listenForInterruption(options: InterruptionOptions): AbortSignal {
  const controller = new AbortController();
  let firstAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstAt === undefined) {
      firstAt = performance.now();
      options.onFirst(signal);
      controller.abort(new ClusterError('INTERRUPTED', `Ended by ${signal}.`));
    } else if (performance.now() - firstAt > SAME_SIGNAL_WITHIN_MS) {
      options.onSecond();
    }
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  return controller.signal;
}
