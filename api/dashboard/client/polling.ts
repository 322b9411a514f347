/** Polling while the page is visible. */
import { ApiError } from './api';

/** What is known of a reading. */
export interface Reading<Data> {
  /** What was read last, however old. */
  readonly data: Data | undefined;
  /** Set while the last try failed: why, and since when nothing new is known. */
  readonly failure:
    | {
        readonly message: string;
        readonly since: number;
        /** Status of the API's answer; 0 when there was none. */
        readonly status: number;
      }
    | undefined;
  /** Reads now, and not again before the usual time has passed. */
  refresh(): Promise<void>;
  /** Ends it. */
  stop(): void;
}

/**
 * Reads at once and then every `everyMs`; not while the page is hidden, and at once when it is seen again.
 *
 * @param changed called after each try
 */
export function poll<Data>(
  everyMs: number,
  load: () => Promise<Data>,
  changed: () => void,
): Reading<Data> {
  let data: Data | undefined;
  let failure: Reading<Data>['failure'];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let loadedAt = Date.now();
  let latestTry = 0;

  const refresh = async (): Promise<void> => {
    clearTimeout(timer);
    const ownTry = (latestTry += 1);
    try {
      const loaded = await load();
      // An answer that was overtaken by a later try is old.
      if (stopped || ownTry !== latestTry) return;
      data = loaded;
      loadedAt = Date.now();
      failure = undefined;
    } catch (error) {
      if (stopped || ownTry !== latestTry) return;
      const status = error instanceof ApiError ? error.status : 0;
      failure = { message: messageOf(error), since: loadedAt, status };
    }
    changed();
    if (!document.hidden) timer = setTimeout(() => void refresh(), everyMs);
  };
  const onVisibility = (): void => {
    if (document.hidden) clearTimeout(timer);
    else void refresh();
  };
  document.addEventListener('visibilitychange', onVisibility);
  void refresh();
  return {
    get data() {
      return data;
    },
    get failure() {
      return failure;
    },
    refresh,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisibility);
    },
  };
}

/** The message of an error for people. */
export function messageOf(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return 'The request to the API timed out.';
  }
  return error instanceof Error ? error.message : String(error);
}
