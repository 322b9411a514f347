/** Liveness and readiness in answers. */
import { z } from 'zod';

/** Liveness. */
export const alive = z.object({ status: z.literal('ok') });

const dependencyState = z.object({
  status: z.enum(['up', 'down']),
  /** Whether the API is not ready without it. */
  required: z.boolean(),
  reason: z.string().optional(),
});

/** Readiness. */
export const readiness = z.object({
  status: z.enum(['ready', 'degraded', 'unavailable', 'stopping']),
  dependencies: z.record(z.string(), dependencyState),
});
