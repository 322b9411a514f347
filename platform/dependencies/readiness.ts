/** Whether a process can do its work: each of its dependencies asked, by name, in time. */

/** A dependency and how to ask it. */
export interface Check {
  readonly name: string;
  /** Without it the process can do nothing; the others it can do without for a while. */
  readonly required: boolean;
  /** Resolves when the dependency answers. */
  probe(): Promise<unknown>;
}

/** What a dependency's check has found. */
interface DependencyState {
  readonly status: 'up' | 'down';
  readonly required: boolean;
  readonly reason?: string;
}

/** Whether a process is ready; degraded, it works without something that it can do without. */
export interface Readiness {
  readonly status: 'ready' | 'degraded' | 'unavailable';
  readonly dependencies: Readonly<Record<string, DependencyState>>;
}

/** How long a dependency has for its answer, in ms. */
export const probeTimeoutMs = 1_000;

/** Asks every dependency, at once. */
export async function checkReadiness(checks: readonly Check[]): Promise<Readiness> {
  const states = await Promise.all(
    checks.map(async (check) => [check.name, await runCheck(check)] as const),
  );
  return {
    status: overall(states.map(([, state]) => state)),
    dependencies: Object.fromEntries(states),
  };
}

/** Whether requests that need a ready process should be sent to one in this state. */
export function isReady({ status }: { readonly status: string }): boolean {
  return status === 'ready' || status === 'degraded';
}

async function runCheck({ required, probe }: Check): Promise<DependencyState> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const tooLate = new Error(`no answer within ${probeTimeoutMs} ms`);
    timer = setTimeout(() => reject(tooLate), probeTimeoutMs);
  });
  try {
    await Promise.race([probe(), timeout]);
    return { status: 'up', required };
  } catch (error) {
    return { status: 'down', required, reason: reasonOf(error) };
  } finally {
    clearTimeout(timer);
  }
}

// Anybody may ask, so addresses and user names, which messages of errors carry, stay inside.
function reasonOf(error: unknown): string {
  const { code, message } = error as Error & { code?: unknown };
  if (typeof code === 'string') return code;
  return code === undefined && !/\d+\.\d+|:\d/.test(message) ? message : 'does not answer';
}

function overall(states: readonly DependencyState[]): Readiness['status'] {
  const down = states.filter(({ status }) => status === 'down');
  if (down.some(({ required }) => required)) return 'unavailable';
  return down.length === 0 ? 'ready' : 'degraded';
}
