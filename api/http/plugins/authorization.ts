/** Authorization: each route admits only the role and the user that its operation declares. */
import type { FastifyRequest, onRequestAsyncHookHandler, RouteOptions } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { Role } from '../../../platform/process/config';
import type { Operation } from '../operation';
import { invalidField, Problem } from '../problem';
import { userHeader } from './authentication';

/**
 * Checks role and user of every request of its scope before a body is read. Registering a route that
 * declares no operation, or a public one, throws. Needs `authentication` before it.
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

// Operators act on behalf of any user.
const requireUserOfShopper: onRequestAsyncHookHandler = async ({ caller, userId }) => {
  if (caller.role === 'shopper' && userId === undefined) throw missingUser();
};

const userChecks: Readonly<
  Record<NonNullable<Operation['user']>, readonly onRequestAsyncHookHandler[]>
> = { required: [requireUser], 'of-shopper': [requireUserOfShopper], optional: [] };

function missingUser(): Problem {
  return invalidField(userHeader, 'is missing; it names the acting user');
}
