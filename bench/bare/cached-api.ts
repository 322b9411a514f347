/** The minimal cached read: Fastify and one GET of Redis. */
import fastify from 'fastify';
import { Redis } from 'ioredis';

async function main(): Promise<void> {
  const redis = new Redis(process.env['REDIS_URL']!);
  const app = fastify();
  app.get<{ Params: { id: string } }>('/v1/products/:id', async (request, reply) => {
    const json = await redis.get(`product:${request.params.id}`);
    return reply.type('application/json').send(json);
  });
  await app.listen({ port: Number(process.env['BARE_PORT']), host: '127.0.0.1' });
  process.once('SIGTERM', () => process.exit(0));
  process.send?.({ ready: true });
}

void main();
