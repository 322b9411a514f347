/** Whether the process is alive, and whether it can do its work: each dependency by name. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ApiDependencies } from '../dependencies';

/** `GET /healthz` and `GET /readyz`, without a key. */
export function healthRoutes(dependencies: ApiDependencies): FastifyPluginAsyncZod {
  const checks = checksOf(dependencies);
  return async (app) => {
    app.get('/healthz', { schema: { response: { 200: alive } } }, async () => ({
      status: 'ok' as const,
    }));

    app.get(
      '/readyz',
      { schema: { response: { 200: readiness, 503: readiness } } },
      async (_, reply) => {
        const states = await Promise.all(checks.map(runCheck));
        const status = app.isStopping() ? 'stopping' : overall(states);
        const ready = status === 'ready' || status === 'degraded';
        const dependencyStates = states.map(({ name, state }) => [name, state] as const);
        return reply
          .code(ready ? 200 : 503)
          .send({ status, dependencies: Object.fromEntries(dependencyStates) });
      },
    );
  };
}

const alive = z.object({ status: z.literal('ok') });

const dependencyState = z.object({
  status: z.enum(['up', 'down']),
  /** Without them the API can take no orders; the others it can do without for a while. */
  required: z.boolean(),
  reason: z.string().optional(),
});

const readiness = z.object({
  status: z.enum(['ready', 'degraded', 'unavailable', 'stopping']),
  dependencies: z.record(z.string(), dependencyState),
});

interface Check {
  readonly name: string;
  readonly required: boolean;
  /** Resolves when the dependency answers. */
  probe(): Promise<unknown>;
}

interface CheckedState {
  readonly name: string;
  readonly state: z.infer<typeof dependencyState>;
}

const probeTimeoutMs = 1_000;

function checksOf({ pool, redis, sender, temporal }: ApiDependencies): Check[] {
  return [
    { name: 'postgres', required: true, probe: () => pool.query('SELECT 1') },
    {
      name: 'temporal',
      required: true,
      probe: () =>
        temporal.withDeadline(Date.now() + probeTimeoutMs, () =>
          temporal.workflowService.getSystemInfo({}),
        ),
    },
    {
      name: 'kafka',
      required: false,
      probe: async () => {
        if (!sender.isConnected()) throw new Error('not connected');
      },
    },
    {
      name: 'redis',
      required: false,
      probe: async () => {
        if (redis.status !== 'ready') throw new Error('not connected');
        await redis.ping();
      },
    },
  ];
}

async function runCheck({ name, required, probe }: Check): Promise<CheckedState> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const tooLate = new Error(`no answer within ${probeTimeoutMs} ms`);
    timer = setTimeout(() => reject(tooLate), probeTimeoutMs);
  });
  try {
    await Promise.race([probe(), timeout]);
    return { name, state: { status: 'up', required } };
  } catch (error) {
    return { name, state: { status: 'down', required, reason: reasonOf(error) } };
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

function overall(states: readonly CheckedState[]): 'ready' | 'degraded' | 'unavailable' {
  const down = states.filter(({ state }) => state.status === 'down');
  if (down.some(({ state }) => state.required)) return 'unavailable';
  return down.length === 0 ? 'ready' : 'degraded';
}
