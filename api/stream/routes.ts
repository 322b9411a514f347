/** The live stream of handled events, for operators: server-sent events. */
import { Readable } from 'node:stream';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Services } from '../http/dependencies';
import { eventTypes } from '../../events/schemas';
import { databaseProblems } from '../http/operation';
import type { FeedMessage } from './handled-event-feed';
import { readPosition, writePosition, type HandledEvent } from './handled-events';
import { pageLimitSchema } from '../http/pages';
import { problemSchema } from '../http/problem';
import { wholeNumberParameter } from '../http/validation';
import { handledEvents as handledEventsSchema, type StreamedData } from './schemas';

/** A client that reads nothing for this many ms is disconnected; it can resume. */
const stalledAfterMs = 30_000;

// Shutdown: how long a client has to read what is buffered, in ms.
const endWithinMs = 2_000;

/** `GET /stream`, `GET /handled-events`. */
export function streamRoutes({
  handledEvents,
  handledEventReads,
}: Services): FastifyPluginAsyncZod {
  return async (app) => {
    const open = new Set<AbortController>();
    // Streams never end by themselves: closing would wait for them without end.
    app.addHook('preClose', async () => {
      handledEvents.stop();
      setTimeout(() => open.forEach((gone) => gone.abort()), endWithinMs).unref();
    });

    app.get(
      '/stream',
      {
        config: {
          lasting: true,
          operation: {
            operationId: 'streamHandledEvents',
            tag: 'Events',
            summary: 'Stream handled events live',
            description:
              'Server-sent events. `handled`: an event whose effects have been applied; its `id`, sent ' +
              'as `Last-Event-ID`, resumes the stream there without gaps or repeats. `ready`: the stream ' +
              'has started (`anew`: the given `Last-Event-ID` is of another database). `outage`: the ' +
              'database is unavailable since then (null: available again). A comment is sent after two ' +
              'seconds without anything else, as a heartbeat.',
            key: 'operator',
            problems: [...databaseProblems, 'TOO_MANY_STREAMS'],
            produces: 'text/event-stream',
            example: { url: '/v1/stream?recent=3', seconds: 3 },
          },
        },
        exposeHeadRoute: false,
        schema: {
          headers,
          querystring: query,
          response: { 200: z.string().describe('text/event-stream'), default: problemSchema },
        },
      },
      async (request, reply) => {
        const cursor = request.headers['last-event-id'];
        const after = cursor === undefined ? undefined : readPosition(cursor, 'Last-Event-ID');
        const gone = new AbortController();
        const { signal } = gone;
        const messages = handledEvents.follow({ after, recent: request.query.recent, signal });
        const stream = Readable.from(cuttingOffStalled(messages, gone), { objectMode: false });
        signal.addEventListener('abort', () => stream.destroy());
        open.add(gone);
        reply.raw.once('close', () => {
          open.delete(gone);
          gone.abort();
        });
        return reply
          .type('text/event-stream; charset=utf-8')
          .header('cache-control', 'no-store')
          .header('x-accel-buffering', 'no')
          .send(stream as unknown as string);
      },
    );

    app.get(
      '/handled-events',
      {
        config: {
          operation: {
            operationId: 'listHandledEvents',
            tag: 'Events',
            summary: 'Read the last handled events of a type',
            description:
              'The newest first. To follow all of them, use the stream or the audit log.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/handled-events?type=OrderPlaced&limit=3' },
          },
        },
        schema: {
          querystring: z.strictObject({ type: z.enum(eventTypes), limit: pageLimitSchema }),
          response: { 200: handledEventsSchema, default: problemSchema },
        },
      },
      async ({ query: { type, limit } }) => ({
        items: (await handledEventReads.readLastOfType(type, limit)).map(toStreamed),
      }),
    );
  };
}

const headers = z.object({ 'last-event-id': z.string().max(8_192).optional() });

const query = z.strictObject({
  recent: wholeNumberParameter(0, 100)
    .default(0)
    .describe('how many earlier events to start with when there is no Last-Event-ID'),
});

async function* cuttingOffStalled(
  messages: AsyncGenerator<FeedMessage, void>,
  gone: AbortController,
): AsyncGenerator<string, void> {
  for await (const message of messages) {
    const text = toText(message);
    const timer = setTimeout(() => gone.abort(), stalledAfterMs);
    try {
      // Comes back when the client has room for more.
      yield text;
    } finally {
      clearTimeout(timer);
    }
  }
}

function toText(message: FeedMessage): string {
  switch (message.kind) {
    case 'ready': {
      const recent = message.recent.map((event) => frame('handled', toStreamed(event)));
      const id = writePosition(message.position);
      return `retry: 1000\n${recent.join('')}${frame('ready', { anew: message.anew }, id)}`;
    }
    case 'handled':
      return message.events
        .map(({ event, position }) => frame('handled', toStreamed(event), writePosition(position)))
        .join('');
    case 'away':
      return frame('outage', { since: message.since.toISOString() });
    case 'back':
      return frame('outage', { since: null });
    case 'quiet':
      return ': heartbeat\n\n';
  }
}

function frame<Type extends keyof StreamedData>(
  event: Type,
  data: StreamedData[Type],
  id?: string,
): string {
  const lines = [`event: ${event}`, `data: ${JSON.stringify(data)}`];
  if (id !== undefined) lines.unshift(`id: ${id}`);
  return `${lines.join('\n')}\n\n`;
}

function toStreamed(event: HandledEvent): StreamedData['handled'] {
  const { occurredAt, handledAt, ...rest } = event;
  return { ...rest, occurredAt: occurredAt.toISOString(), handledAt: handledAt.toISOString() };
}
