/** What a caller may do: each route of the scope admits whom its operation names, and nobody else. */
import type { FastifyRequest, onRequestAsyncHookHandler, RouteOptions } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { Role } from '../../../platform/process/config';
import type { Operation } from '../operation';
import { invalidField, Problem } from '../problem';
import { userHeader } from './authentication';

/**
 * Holds every route of its scope to the key and the user of its operation, before a body is read. A
 * route without one is not registered. Needs `authentication` before it.
 */
export const authorization = fastifyPlugin(async (app) => {
  app.addHook('onRoute', (route) => {
    route.onRequest = [...[route.onRequest ?? []].flat(), ...checksOf(route)];
  });
});

/** The user of a request to an operation that requires one. */
export function userOf({ userId }: FastifyRequest): string {
  if (userId === undefined) throw new TypeError('The operation does not require a user.');
  return userId;
}

function checksOf({ method, url, config }: RouteOptions): onRequestAsyncHookHandler[] {
  const operation = config?.operation;
  if (operation === undefined || operation.key === 'public') {
    throw new TypeError(`${String(method)} ${url} does not declare whose key it takes.`);
  }
  const { key, user = 'optional' } = operation;
  return [...(key === 'any' ? [] : [requireRole(key)]), ...userChecks[user]];
}

function requireRole(role: Role): onRequestAsyncHookHandler {
  return async ({ caller }) => {
    if (caller.role === role) return;
    throw new Problem('FORBIDDEN', { detail: `This needs an API key of the role ${role}.` });
  };
}

const requireUser: onRequestAsyncHookHandler = async ({ userId }) => {
  if (userId === undefined) throw missingUser();
};

// Operators act for everybody.
const requireUserOfShopper: onRequestAsyncHookHandler = async ({ caller, userId }) => {
  if (caller.role === 'shopper' && userId === undefined) throw missingUser();
};

const userChecks: Readonly<
  Record<NonNullable<Operation['user']>, readonly onRequestAsyncHookHandler[]>
> = { required: [requireUser], 'of-shopper': [requireUserOfShopper], optional: [] };

function missingUser(): Problem {
  return invalidField(userHeader, 'is missing; it names the acting user');
}
