/** The HTTP side of a command: how a request becomes the command, and its outcome an answer. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import type { CommandDefinition } from '../../events/command-definition';
import type { CommandName } from '../../events/commands';
import type { Services } from '../http/dependencies';
import type { Operation } from '../http/operation';
import { Problem, problemSchema } from '../http/problem';

/** A route that gives a command. */
export interface CommandRoute<Name extends CommandName = CommandName> {
  readonly command: Name;
  /** Adds the route to the API. */
  addTo(app: Pick<FastifyInstance, 'route'>, services: Services): void;
}

/** What there is to say of a route; its operation may declare more. */
interface Route<
  Command,
  Outcome,
  Params extends z.ZodType,
  Body extends z.ZodType,
  Answer extends z.ZodType,
> extends Pick<Operation, 'operationId' | 'tag' | 'summary' | 'description' | 'key' | 'user'> {
  readonly method: 'POST' | 'PUT' | 'DELETE';
  /** Below `/v1`. */
  readonly url: string;
  readonly params?: Params;
  readonly body: Body;
  readonly problems: NonNullable<Operation['problems']>;
  readonly example: Operation['example'];
  /** The status of the answer, and its schema. */
  readonly status: 200 | 201;
  readonly answer: Answer;
  /** The URL of what the command has made, for `Location`. */
  readonly location?: (outcome: Outcome) => string;
  /** The command of a request; `request.deriveId` gives a repeated POST the same key. */
  toCommand(request: CommandRequest<Params, Body>): Command;
  /** Rejects a command in vain before a workflow is started. @throws Problem */
  check?(services: Services, command: Command): Promise<void>;
  /** What the caller is told of the outcome. */
  toAnswer(outcome: Outcome, command: Command): z.input<Answer> | Problem;
}

type CommandRequest<Params extends z.ZodType, Body extends z.ZodType> = FastifyRequest & {
  readonly params: z.output<Params>;
  readonly body: z.output<Body>;
};

/** A route that gives a registered command. */
export function commandRoute<
  Name extends CommandName,
  Input extends z.ZodObject,
  Outcome extends object,
  Params extends z.ZodType,
  Body extends z.ZodType,
  Answer extends z.ZodType,
>(
  definition: CommandDefinition<Name, Input, Outcome>,
  route: Route<z.output<Input>, Outcome, Params, Body, Answer>,
): CommandRoute<Name> {
  const { method, url, params, body, status, answer, location } = route;
  const { operationId, tag, summary, description, key, user, problems, example } = route;
  return {
    command: definition.name,
    addTo: (app, services) =>
      app.route({
        method,
        url,
        config: {
          operation: {
            ...{ operationId, tag, summary, key, problems, example },
            ...(description === undefined ? {} : { description }),
            ...(user === undefined ? {} : { user }),
            ...(location === undefined ? {} : { headers: { [status]: ['Location'] } }),
          },
        },
        schema: {
          ...(params === undefined ? {} : { params }),
          body,
          response: { [status]: answer, default: problemSchema },
        },
        handler: async (request, reply) => {
          // As the schemas have validated it.
          const command = route.toCommand(request as CommandRequest<Params, Body>);
          await route.check?.(services, command);
          const outcome = await services.commands.execute(definition, command, request.isRepeat);
          const told = route.toAnswer(outcome, command);
          if (told instanceof Problem) throw told;
          if (location !== undefined) reply.header('location', location(outcome));
          return reply.code(status).send(told);
        },
      }),
  };
}
