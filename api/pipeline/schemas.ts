/** The state of the pipeline in answers. */
import { z } from 'zod';

/** Where the collector stands in each partition. */
export const lagSchema = z.object({
  total: z.int(),
  partitions: z.array(
    z.object({
      topic: z.string(),
      partition: z.int(),
      committed: z.int().nullable().describe('null when the collector has committed none yet'),
      end: z.int().describe('the offset that the next message will get'),
      lag: z.int().describe('messages that are there and not committed'),
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
        .describe('how many ask for work; null when the server that knows cannot be asked'),
    }),
  ),
});
