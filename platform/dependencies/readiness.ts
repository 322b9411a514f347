/** Readiness: probes every dependency of a process, each with a timeout. */
import { TimeoutError, withTimeout } from '../process/waiting';

/** A dependency and its probe. */
export interface Check {
  readonly name: string;
  /** Without it the process is unavailable; without any other it is only degraded. */
  readonly required: boolean;
  /** Resolves when the dependency answers. */
  probe(): Promise<unknown>;
}

/** Result of a dependency's probe. */
interface DependencyState {
  readonly status: 'up' | 'down';
  readonly required: boolean;
  readonly reason?: string;
}

/** Whether a process is ready; `degraded`: it works, but a dependency that is not required is down. */
export interface Readiness {
  readonly status: 'ready' | 'degraded' | 'unavailable';
  readonly dependencies: Readonly<Record<string, DependencyState>>;
}

/**
 * Timeout of a probe, in ms. `/readyz` has to answer within the second that a load balancer or a kubelet
 * waits for by default: without an answer, a server that hangs and is not required would cost every process.
 */
export const probeTimeoutMs = 750;

/** Probes every dependency, concurrently. */
export async function checkReadiness(checks: readonly Check[]): Promise<Readiness> {
  const states = await Promise.all(
    checks.map(async (check) => [check.name, await runCheck(check)] as const),
  );
  return {
    status: overall(states.map(([, state]) => state)),
    dependencies: Object.fromEntries(states),
  };
}

/** Whether a load balancer should send requests to a process in this state. */
export function isReady({ status }: { readonly status: string }): boolean {
  return status === 'ready' || status === 'degraded';
}

/** Whether the process at `url` says in `/readyz` that it is ready; false also while it does not answer. */
export async function reportsReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(new URL('/readyz', url), { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

async function runCheck({ required, probe }: Check): Promise<DependencyState> {
  try {
    await withTimeout(probe(), probeTimeoutMs);
    return { status: 'up', required };
  } catch (error) {
    return { status: 'down', required, reason: reasonOf(error) };
  }
}

// The endpoint is public: addresses and user names in error messages must not leak.
function reasonOf(error: unknown): string {
  if (error instanceof TimeoutError) return error.message;
  const { code, message } = error as Error & { code?: unknown };
  if (typeof code === 'string') return code;
  return code === undefined && !/\d+\.\d+|:\d/.test(message) ? message : 'does not answer';
}

function overall(states: readonly DependencyState[]): Readiness['status'] {
  const down = states.filter(({ status }) => status === 'down');
  if (down.some(({ required }) => required)) return 'unavailable';
  return down.length === 0 ? 'ready' : 'degraded';
}
