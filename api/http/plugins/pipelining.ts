/**
 * HTTP/1.1 pipelining: what a client sends on one connection without waiting for answers is carried
 * out in the order in which it was sent (RFC 9112, 9.3.2). Node.js orders the answers only, so that a
 * like and the unlike behind it would race each other.
 */
import type { Socket } from 'node:net';
import fastifyPlugin from 'fastify-plugin';
import { OverloadedError } from '../overload';

declare module 'fastify' {
  interface FastifyRequest {
    /** The request's turn on its connection, until it is answered. */
    turn: Turn | undefined;
  }
}

interface Turn {
  /** The turns of the connection that are not over, in the order of their requests. */
  readonly line: Turn[];
  /** Called when all turns before it are over. */
  begin?: () => void;
}

/** Most requests of one connection that are under way or wait for their turn. */
const maxPipelined = 100;

/**
 * Lets each request of its scope wait, once its body has arrived, until those before it on its
 * connection are answered. To be registered after what has to be done before an answer counts as
 * given, and before what a waiting request must not hold.
 */
export const pipelining = fastifyPlugin(async (app) => {
  const lines = new WeakMap<Socket, Turn[]>();
  app.decorateRequest('turn');
  app.addHook('onRequest', (request, _, done) => {
    const line = lines.get(request.socket) ?? [];
    lines.set(request.socket, line);
    if (line.length >= maxPipelined) return done(new OverloadedError());
    request.turn = { line };
    line.push(request.turn);
    done();
  });
  app.addHook('preValidation', ({ turn }, _, done) => {
    if (turn === undefined || turn.line[0] === turn) return done();
    // By a promise, which keeps the trace of the request: its turn begins in that of another.
    void new Promise<void>((resolve) => (turn.begin = resolve)).then(() => done());
  });
  app.addHook('onSend', (request, _, payload, done) => {
    const { turn } = request;
    request.turn = undefined;
    if (turn !== undefined) {
      turn.line.splice(turn.line.indexOf(turn), 1);
      turn.line[0]?.begin?.();
    }
    done(null, payload);
  });
});
