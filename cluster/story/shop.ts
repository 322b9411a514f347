/** The shop's HTTP API as a client sees it. Each request and its answer is written on the page. */
import { randomUUID } from 'node:crypto';
import type { Config, Role } from '../../platform/process/config';
import { eventually, UnconfirmedError } from './confirm';
import type { Page } from './page';

interface ShopRequest {
  readonly as: Role;
  /** Who acts. */
  readonly userId?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
}

interface ShopAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed from JSON. */
  readonly body: unknown;
}

export interface Shop {
  get(path: string, request: ShopRequest): Promise<ShopAnswer>;
  /**
   * Each call has an `Idempotency-Key` of its own. Retries with the same key while the API is
   * unreachable or returns 503: the request takes effect once.
   */
  post(path: string, request: ShopRequest): Promise<ShopAnswer>;
}

export interface ShopOptions {
  readonly apiUrl: string;
  readonly config: Config;
  readonly page: Page;
  readonly signal: AbortSignal;
}

/** The shop at a URL, with the configured keys. */
export function createShop(options: ShopOptions): Shop {
  return {
    get: (path, request) => call(options, 'GET', path, request),
    post: (path, request) => {
      const idempotencyKey = randomUUID();
      return eventually(options.signal, 'the API decides', async () => {
        const answer = await call(options, 'POST', path, request, idempotencyKey);
        if (answer.status === notDecided) throw new UnconfirmedError('it returns 503');
        return answer;
      });
    },
  };
}

const notDecided = 503;

async function call(
  { apiUrl, config, page, signal }: ShopOptions,
  method: string,
  path: string,
  { as, userId, body }: ShopRequest,
  idempotencyKey?: string,
): Promise<ShopAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  page.say(`${method} ${path}${text === undefined ? '' : ` ${text}`}`);
  const response = await fetch(`${apiUrl}${path}`, {
    method,
    signal,
    headers: {
      authorization: `Bearer ${secretOf(config, as)}`,
      ...(userId === undefined ? {} : { 'x-user-id': userId }),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(text === undefined ? {} : { body: text }),
  });
  const answer = await response.text();
  const cache = response.headers.get('x-cache');
  page.show(`${response.status}${cache === null ? '' : `, x-cache: ${cache}`} ${answer}`);
  return {
    status: response.status,
    headers: response.headers,
    body: answer === '' ? undefined : JSON.parse(answer),
  };
}

function secretOf(config: Config, role: Role): string {
  const key = config.API_KEYS.find((each) => each.role === role);
  if (key !== undefined) return key.secret;
  throw new UnconfirmedError(`API_KEYS has no key with the role ${role}: add one`);
}
