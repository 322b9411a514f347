/** The state of the pipeline in answers. */
import { z } from 'zod';

/** Consumer lag of the collector by partition. */
export const lagSchema = z.object({
  total: z.int(),
  partitions: z.array(
    z.object({
      topic: z.string(),
      partition: z.int(),
      committed: z
        .int()
        .nullable()
        .describe('committed offset; null when the collector has committed none yet'),
      end: z.int().describe('log end offset: that of the next message'),
      lag: z.int().describe('messages not yet committed'),
    }),
  ),
});

/** The processes behind the API. */
export const processPage = z.object({
  items: z.array(
    z.object({
      name: z.string(),
      running: z
        .int()
        .nullable()
        .describe(
          'instances that poll for work; null when unknown because Temporal or Kafka is unavailable',
        ),
    }),
  ),
});
