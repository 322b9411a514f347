/**
 * What a route declares of its operation, beside its handler: who may call it, which problems it
 * answers with, and what the OpenAPI document says of it. Authorization and the document both follow
 * from the declaration. Every route has one, or is hidden from the document.
 */
import type { Role } from '../../platform/process/config';
import type { ProblemCode } from './problems';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the route does, and for whom. */
    readonly operation?: Operation;
  }
}

/** A group of operations, in the order in which they are shown. */
export const tags = {
  Products: 'The catalog of the shop.',
  Orders: 'Placing an order reserves stock and charges the payment, or does neither.',
  Metrics: 'Metrics that the collector computes from the events.',
  Events: 'The audit log, and the live stream of handled events.',
  'Dead letters': 'Messages that could not be handled: redrive or discard them.',
  Search: 'What an ID, a name or a place stands for.',
  Pipeline: 'State of the processes and servers behind the API.',
  Demonstration: 'Try the pipeline; only with the development API keys.',
  Documents: 'OpenAPI, AsyncAPI and JSON Schema.',
  Process: 'Liveness, readiness and metrics of the process.',
} as const;

/** An operation of the API. */
export interface Operation {
  readonly operationId: string;
  readonly tag: keyof typeof tags;
  readonly summary: string;
  readonly description?: string;
  /** The role that the API key must have; `any` key, or none when it is public. */
  readonly key: Role | 'any' | 'public';
  /** Whether `X-User-Id` names the acting user; `of-shopper` needs it of shoppers only. */
  readonly user?: 'required' | 'of-shopper' | 'optional';
  /** Problems of its own, besides those that follow from its key and its body. */
  readonly problems?: readonly ProblemCode[];
  /** Headers of its answer, by status. */
  readonly headers?: Readonly<Record<number, readonly ('Location' | 'X-Cache')[]>>;
  /** The media type of its answer, where that is not JSON. */
  readonly produces?: string;
  /** A request that works when it is pasted into a shell while `npm start` is running. */
  readonly example: ExampleRequest;
}

/** A request for a shell. */
export interface ExampleRequest {
  /** Path and query as they are sent; `$PRODUCT` and its like are what `after` has put there. */
  readonly url: string;
  readonly body?: object;
  /** What has to be there before. */
  readonly after?: Precondition;
  /** Ends an answer that has no end, after seconds. */
  readonly seconds?: number;
}

/** Something to get hold of first; it is in the shell's variable of that name then. */
export type Precondition =
  'PRODUCT' | 'NEW_PRODUCT' | 'MEASURED' | 'ORDER' | 'EVENT' | 'DEAD_LETTER';

/** The problems of an operation that reads PostgreSQL. */
export const databaseProblems = ['DATABASE_UNAVAILABLE'] as const;

/** The problems of an operation that starts a workflow. */
export const commandProblems = ['TEMPORAL_UNAVAILABLE', 'UNDECIDED', 'COMMAND_FAILED'] as const;
