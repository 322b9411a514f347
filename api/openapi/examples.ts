/** Examples of requests as a shell runs them, against what `npm start` brings up. */
import type { ExampleRequest, Operation, Precondition } from '../http/operation';

/** Where the examples send their requests: the API of `npm start`. */
export const exampleServer = 'http://127.0.0.1:3000';

/** The user in whose name the examples act. */
export const exampleUser = 'ann';

/** An operation's example as a script for a POSIX shell, which prints the answer with its status. */
export function shellExample(method: string, operation: Operation): string {
  const { example, key, user } = operation;
  const names = user === undefined ? [] : [`-H "X-User-Id: ${exampleUser}"`];
  const request = [
    curlOf(method, example),
    ...(key === 'public' ? [] : [authorizationOf(key === 'operator' ? 'operator' : 'shopper')]),
    ...names,
    ...bodyOf(example.body),
  ];
  const lines = [request.join(' \\\n  ')];
  return [...preparationFor(example.after), ...lines].join('\n');
}

function curlOf(method: string, { url, seconds }: ExampleRequest): string {
  const options = [
    '-i',
    ...(seconds === undefined ? [] : [`-N --max-time ${seconds}`]),
    ...(method === 'GET' ? [] : [`-X ${method}`]),
  ];
  return `curl ${options.join(' ')} "${exampleServer}${url}"`;
}

function authorizationOf(role: 'operator' | 'shopper'): string {
  return `-H "Authorization: Bearer dev-${role}-key"`;
}

function bodyOf(body: object | undefined): string[] {
  if (body === undefined) return [];
  // A variable stands outside of the quotes, or the shell would leave it as it is.
  const json = JSON.stringify(body).replaceAll(/"(\$[A-Z_]+)"/g, `"'$1'"`);
  return ['-H "Content-Type: application/json"', `-d '${json}'`];
}

const read = (role: 'operator' | 'shopper', url: string, rest = ''): string =>
  `curl -s "${exampleServer}${url}" ${authorizationOf(role)}${rest}`;

const field = (name: string): string => `sed 's/.*"${name}":"\\([^"]*\\)".*/\\1/'`;

const post = (headers: string, body: object): string =>
  ` \\\n  ${[headers, ...bodyOf(body)].filter((part) => part !== '').join(' ')} |\n  `;

const newProduct =
  `PRODUCT=$(${read('operator', '/v1/products')}` +
  `${post('', { name: 'Teapot', price: 2_500, stock: 10 })}${field('productId')})`;

const preparations: Readonly<Record<Precondition, readonly string[]>> = {
  PRODUCT: [`PRODUCT=$(${read('shopper', '/v1/products?limit=1')} |\n  ${field('productId')})`],
  NEW_PRODUCT: [newProduct],
  MEASURED: [
    `PRODUCT=$(${read('operator', '/v1/metrics/products?limit=1')} |\n  ${field('productId')})`,
  ],
  ORDER: [
    newProduct,
    `ORDER=$(${read('shopper', '/v1/orders')}` +
      post(`-H "X-User-Id: ${exampleUser}"`, {
        items: [{ productId: '$PRODUCT', quantity: 1 }],
        paymentToken: 'tok_approve',
      }) +
      `${field('orderId')})`,
  ],
  EVENT: [`EVENT=$(${read('operator', '/v1/events?limit=1')} |\n  ${field('eventId')})`],
  DEAD_LETTER: [
    '# There must be one: POST /v1/demonstration/poison makes it.',
    `DEAD_LETTER=$(${read('operator', '/v1/dead-letters?status=parked&limit=1')} |\n` +
      `  sed 's/.*"items":\\[{"id":\\([0-9]*\\).*/\\1/')`,
  ],
};

function preparationFor(precondition: Precondition | undefined): readonly string[] {
  return precondition === undefined ? [] : preparations[precondition];
}
