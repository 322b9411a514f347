/** That the tests would see an answer which the API's description does not allow. */
import {
  createConformanceCheck,
  NonconformingAnswerError,
  type ConformanceCheck,
} from '../../testkit/openapi-conformance';
import {
  createDisconnectedServer,
  type DisconnectedServer,
} from '../../testkit/disconnected-server';

let server: DisconnectedServer;
let check: ConformanceCheck;

beforeAll(async () => {
  server = await createDisconnectedServer();
  check = createConformanceCheck((await server.app.inject('/openapi.json')).json<object>());
});

afterAll(() => server.stop());

const json = 'application/json; charset=utf-8';
const problem = 'application/problem+json; charset=utf-8';
const order = { orderId: 'order-1', status: 'CONFIRMED', totalAmount: 900 };

function problemOf(status: number, code: string) {
  return { type: 'about:blank', title: 'Problem', status, code, detail: 'told' };
}

test.each<[what: string, status: number, contentType: string, body: unknown]>([
  ['an order', 201, json, order],
  ['a problem that is described', 409, problem, problemOf(409, 'OUT_OF_STOCK')],
])('%s is as described', (_, status, contentType, body) => {
  check('POST', 'http://127.0.0.1/v1/orders', { status, contentType, body });
});

test.each<[what: string, status: number, contentType: string, body: unknown]>([
  ['a status that is not described', 418, problem, problemOf(418, 'TEAPOT')],
  ['a code that is not described', 409, problem, problemOf(409, 'STOCK_OUT_OF_RANGE')],
  ['a code of another status', 404, problem, problemOf(404, 'OUT_OF_STOCK')],
  ['a problem that says another status', 409, problem, problemOf(400, 'OUT_OF_STOCK')],
  ['a problem as JSON', 409, json, problemOf(409, 'OUT_OF_STOCK')],
  ['a missing field', 201, json, { ...order, totalAmount: undefined }],
  ['a field that is not described', 201, json, { ...order, secret: 'x' }],
  ['a field of another type', 201, json, { ...order, totalAmount: '900' }],
])('%s is found', (_, status, contentType, body) => {
  const answer = { status, contentType, body: JSON.parse(JSON.stringify(body)) as unknown };
  expect(() => check('POST', 'http://127.0.0.1/v1/orders', answer)).toThrow(
    NonconformingAnswerError,
  );
});

test('an answer from a route that is not described is found', () => {
  const answer = { status: 200, contentType: json, body: {} };
  expect(() => check('GET', 'http://127.0.0.1/v1/unheard', answer)).toThrow(
    NonconformingAnswerError,
  );
});
