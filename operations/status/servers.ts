/**
 * Watches whether the servers are available, also while nobody asks, so that an outage is told with the time
 * at which it began.
 */
import type { Readiness } from '../../platform/dependencies/readiness';

/** A server that the API depends on, or the topics. */
export interface ServerState {
  /** As in `/readyz`. */
  readonly name: string;
  readonly status: 'up' | 'down';
  /** Whether the API is unavailable without it. */
  readonly required: boolean;
  readonly reason?: string;
  /** Since when this process has seen it down; null while it is up. */
  readonly downSince: Date | null;
}

/** A running watch. */
export interface ServerWatch {
  /** The servers now. Takes as long as a readiness probe at most. */
  read(): Promise<ServerState[]>;
  stop(): void;
}

/** How often the servers are probed while nobody asks, in ms. */
const probeEveryMs = 5_000;

/** Starts the watch. @param readReadiness never throws, and is bounded in time */
export function watchServers(
  readReadiness: () => Promise<Readiness>,
  intervalMs = probeEveryMs,
): ServerWatch {
  const downSince = new Map<string, Date>();
  const read = async (): Promise<ServerState[]> => {
    const askedAt = new Date();
    const { dependencies } = await readReadiness();
    return Object.entries(dependencies).map(([name, state]) => {
      if (state.status === 'up') downSince.delete(name);
      else if (!downSince.has(name)) downSince.set(name, askedAt);
      return { name, ...state, downSince: downSince.get(name) ?? null };
    });
  };
  const timer = setInterval(() => void read(), intervalMs);
  // It never keeps a process alive.
  timer.unref();
  return { read, stop: () => clearInterval(timer) };
}
