/** Search results in answers. */
import { z } from 'zod';

/** What was found. */
export const searchResults = z.object({
  items: z
    .array(
      z.object({
        kind: z.enum(['event', 'order', 'product', 'dead-letter', 'user']),
        id: z.string(),
        label: z.string().describe('for people: a type, a name, a reason'),
        detail: z.string().describe('for people: what tells it from others'),
      }),
    )
    .describe('exact IDs first, then names'),
  incomplete: z
    .string()
    .nullable()
    .describe('what could not be searched and why; null when everything was'),
});
