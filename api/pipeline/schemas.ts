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

const held = {
  by: z.string().describe('who did it: the name of an API key, or of a user of the command line'),
  reason: z.string(),
  since: z.iso.datetime(),
};

const bounded = {
  messagesPerSecond: z.int().describe('most that all bridges together take in a second'),
  ...held,
};

/** Consumption as operators hold or bound it. */
export const consumptionSchema = z.object({
  holds: z
    .array(
      z.object({
        topic: z.string().nullable().describe('null for everything'),
        partition: z.int().nullable().describe('null for all of the topic'),
        ...held,
      }),
    )
    .describe('what is held, the oldest first'),
  limit: z
    .object(bounded)
    .nullable()
    .describe('the bound of everything; null while that rate is not bounded'),
  topicLimits: z
    .array(z.object({ topic: z.string(), ...bounded }))
    .describe('the bounds of topics; that of everything holds, too'),
});

/** What a replay comes to. */
export const replaySchema = z.object({
  requested: z.boolean().describe('false for a dry run'),
  ranges: z
    .array(
      z.object({
        topic: z.string(),
        partition: z.int(),
        from: z.int().describe('the first offset'),
        to: z.int().describe('the last offset'),
      }),
    )
    .describe('without offsets that Kafka no longer has, or has not got yet'),
  offsets: z.int().describe('offsets in the ranges; some may hold no message'),
  messages: z.int().nullable().describe('null where too many to be counted for an answer'),
  repeats: z
    .int()
    .nullable()
    .describe('events among them that are handled: reading them again changes nothing'),
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
