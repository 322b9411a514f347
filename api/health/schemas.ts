/** Liveness and readiness in answers. */
import { z } from 'zod';

/** That the process lives. */
export const alive = z.object({ status: z.literal('ok') });

const dependencyState = z.object({
  status: z.enum(['up', 'down']),
  /** Without them the API can take no orders; the others it can do without for a while. */
  required: z.boolean(),
  reason: z.string().optional(),
});

/** Whether the process can work. */
export const readiness = z.object({
  status: z.enum(['ready', 'degraded', 'unavailable', 'stopping']),
  dependencies: z.record(z.string(), dependencyState),
});
