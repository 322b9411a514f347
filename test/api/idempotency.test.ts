/** What the API makes of each outcome of claiming an Idempotency-Key; the store is scripted. */
import Fastify, { type FastifyInstance } from 'fastify';
import type {
  Claim,
  ClaimOutcome,
  IdempotencyStore,
  RecordedAnswer,
} from '../../api/idempotency/store';
import { authentication } from '../../api/http/plugins/authentication';
import { idempotency } from '../../api/idempotency/plugin';
import { problemDetails } from '../../api/http/plugins/problem-details';
import { Problem } from '../../api/http/problem';

const keys = [
  { name: 'one', role: 'operator', secret: 'secret-one' },
  { name: 'two', role: 'operator', secret: 'secret-two' },
] as const;

const firstClaim = { token: 'token', seed: '1', isRepeat: false } as const;

class ScriptedStore implements IdempotencyStore {
  outcome: ClaimOutcome | undefined;
  complete = jest.fn(async (_claim: Claim, _answer: RecordedAnswer) => true);
  release = jest.fn(async (_claim: Claim) => undefined);
  claim = jest.fn(async (scope: Buffer, _requestHash: Buffer): Promise<ClaimOutcome> => {
    return this.outcome ?? { kind: 'claimed', claim: { ...firstClaim, scope } };
  });
}

let store: ScriptedStore;
let app: FastifyInstance;
let handle: jest.Mock;

beforeEach(async () => {
  store = new ScriptedStore();
  handle = jest.fn(async (request, reply) => {
    reply.code(201).header('location', '/things/1').header('x-other', 'y');
    return { id: request.deriveId('thing'), other: request.deriveId('other') };
  });
  app = Fastify();
  await app.register(problemDetails);
  await app.register(authentication, { keys });
  await app.register(idempotency, { store });
  app.post('/things/:thingId', handle);
  app.get('/things/:thingId', handle);
});

afterEach(() => app.close());

interface Call {
  readonly url?: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
  readonly method?: 'POST' | 'GET';
}

function call({ url = '/things/a', body = { size: 1 }, headers = {}, method = 'POST' }: Call = {}) {
  return app.inject({
    method,
    url,
    ...(method === 'POST' ? { payload: body } : {}),
    headers: { authorization: 'Bearer secret-one', 'idempotency-key': 'key', ...headers },
  });
}

const scopes = () => store.claim.mock.calls.map(([scope]) => scope.toString('hex'));
const hashes = () => store.claim.mock.calls.map(([, hash]) => hash.toString('hex'));

test('the first answer is recorded as it is sent', async () => {
  const response = await call();
  expect(response.statusCode).toBe(201);
  expect(store.complete).toHaveBeenCalledWith(expect.objectContaining({ token: 'token' }), {
    status: 201,
    headers: { 'content-type': 'application/json; charset=utf-8', location: '/things/1' },
    body: response.body,
  });
});

test('an answer that was given before is given again, byte for byte, without work', async () => {
  const body = '{ "b":1,"a" : 2}';
  const headers = { 'content-type': 'application/json; charset=utf-8', location: '/things/1' };
  store.outcome = { kind: 'answered', answer: { status: 201, headers, body } };
  const response = await call();
  expect(response.body).toBe(body);
  expect(response.statusCode).toBe(201);
  expect(response.headers).toMatchObject({ ...headers, 'idempotency-replayed': 'true' });
  expect(handle).not.toHaveBeenCalled();
  expect(store.complete).not.toHaveBeenCalled();
});

test('a key of another body is 422', async () => {
  store.outcome = { kind: 'other-request' };
  const response = await call();
  expect(response.statusCode).toBe(422);
  expect(response.json().code).toBe('IDEMPOTENCY_KEY_REUSED');
  expect(handle).not.toHaveBeenCalled();
});

test('while the first try is under way it is 409, and says when to come back', async () => {
  store.outcome = { kind: 'under-way' };
  const response = await call();
  expect(response.statusCode).toBe(409);
  expect(response.headers['retry-after']).toBe('1');
  expect(handle).not.toHaveBeenCalled();
});

test('that there is too much is no answer: the key is free again', async () => {
  handle.mockRejectedValue(new Problem('TOO_MANY_ORDERS'));
  expect((await call()).statusCode).toBe(429);
  expect(store.complete).not.toHaveBeenCalled();
  expect(store.release).toHaveBeenCalledTimes(1);
});

test('a refusal is an answer too', async () => {
  handle.mockRejectedValue(new Problem('OUT_OF_STOCK'));
  const response = await call();
  expect(store.complete.mock.calls[0]?.[1]).toMatchObject({ status: 409, body: response.body });
});

test.each([
  ['undecided', new Problem('UNDECIDED')],
  ['unexpected', new Error('boom')],
])('what is %s gives the key back', async (_, error) => {
  handle.mockRejectedValue(error);
  await call();
  expect(store.release).toHaveBeenCalledTimes(1);
  expect(store.complete).not.toHaveBeenCalled();
});

test('an answer that decides nothing gives the key back, and is not given again', async () => {
  handle.mockImplementation(async (_, reply) => reply.code(202).send({ status: 'PLACED' }));
  expect((await call()).statusCode).toBe(202);
  expect(store.release).toHaveBeenCalledTimes(1);
  expect(store.complete).not.toHaveBeenCalled();
});

test('whoever has lost its claim does not give its own answer', async () => {
  store.complete.mockResolvedValue(false);
  const response = await call();
  expect(response.statusCode).toBe(409);
  expect(response.headers['location']).toBeUndefined();
  expect(response.headers['content-type']).toContain('application/problem+json');
});

test('an answer that cannot be recorded is not given', async () => {
  store.complete.mockRejectedValue(new Error('the database is away'));
  const response = await call();
  expect(response.statusCode).toBe(503);
  expect(response.json().code).toBe('UNDECIDED');
});

test('every try of a request works under the same IDs, one for each purpose', async () => {
  const first = (await call()).json();
  const second = (await call()).json();
  expect(second).toEqual(first);
  expect(first.id).not.toBe(first.other);
});

test('once the key has expired, the IDs are others', async () => {
  const first = (await call()).json();
  store.claim.mockImplementation(async (scope) => ({
    kind: 'claimed',
    claim: { ...firstClaim, scope, seed: '2' },
  }));
  expect((await call()).json().id).not.toBe(first.id);
});

test.each([true, false])('what is carried out knows whether it may be a repeat: %s', async (is) => {
  handle.mockImplementation(async ({ isRepeat }) => ({ isRepeat }));
  store.claim.mockImplementation(async (scope) => ({
    kind: 'claimed',
    claim: { ...firstClaim, scope, isRepeat: is },
  }));
  expect((await call()).json()).toEqual({ isRepeat: is });
});

test('without a key nothing is claimed and the IDs are drawn', async () => {
  const unkeyed = { method: 'POST', url: '/things/a', payload: {} } as const;
  const headers = { authorization: 'Bearer secret-one' };
  const first = (await app.inject({ ...unkeyed, headers })).json();
  const second = (await app.inject({ ...unkeyed, headers })).json();
  expect(second.id).not.toBe(first.id);
  expect(store.claim).not.toHaveBeenCalled();
});

test('a key belongs to the secret, the user and the URL', async () => {
  await call();
  await call({ headers: { authorization: 'Bearer secret-two' } });
  await call({ headers: { 'x-user-id': 'ann' } });
  await call({ url: '/things/b' });
  await call({ headers: { 'idempotency-key': 'another' } });
  expect(new Set(scopes()).size).toBe(5);
});

test('two spellings of one URL are one, and so are two of one body', async () => {
  await call({ body: { size: 1, name: 'x' } });
  await call({ url: '/things/%61', body: { name: 'x', size: 1 } });
  expect(new Set(scopes()).size).toBe(1);
  expect(new Set(hashes()).size).toBe(1);
});

test('a GET has no use for a key', async () => {
  await call({ method: 'GET' });
  expect(store.claim).not.toHaveBeenCalled();
});

test.each([['é'], ['k'.repeat(256)], ['']])('the key %j is refused by name', async (key) => {
  const response = await call({ headers: { 'idempotency-key': key } });
  expect(response.statusCode).toBe(400);
  expect(response.json().errors[0].field).toBe('Idempotency-Key');
  expect(store.claim).not.toHaveBeenCalled();
});

test('an unknown secret claims no key', async () => {
  await call({ headers: { authorization: 'Bearer wrong' } });
  expect(store.claim).not.toHaveBeenCalled();
});
