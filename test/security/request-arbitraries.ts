/**
 * Requests made from the description of the API: such that it allows, and the same with something
 * broken. What is drawn is drawn by fast-check, so that a seed repeats it.
 */
import fc from 'fast-check';
import type { DescribedOperation, JsonSchema, Parameter } from '../../testkit/http-operations';

/** A request as it goes over the network. */
export interface FuzzedRequest {
  readonly operation: DescribedOperation;
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer | undefined;
  /** What was broken; undefined when nothing was. */
  readonly broken: string | undefined;
}

/** IDs of things that are there, so that requests reach further than to a 404. */
export type KnownIds = Readonly<Record<string, readonly string[]>>;

/** Values that often go wrong. */
const awkward = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(-1, 0, 1e308, 2 ** 53, -(2 ** 53), 0.1, '', '\0', '\ud800', ' ', '../..', null),
  fc.constantFrom(true, [], {}, 'x'.repeat(5_000), '" OR 1=1 --', '{{7*7}}', '__proto__', '🫖'),
  fc.string({ unit: 'binary', maxLength: 300 }),
);

/** Values that a schema allows, or nearly: what it says beyond JSON Schema the server checks. */
function valuesOf(schema: JsonSchema, known: KnownIds, name = ''): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) {
    return fc.oneof(...schema.anyOf.map((each) => valuesOf(each, known, name)));
  }
  const ids = known[name];
  switch (schema.type) {
    case 'string':
      return ids === undefined
        ? textsOf(schema)
        : fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...ids) }, textsOf(schema));
    case 'integer':
    case 'number':
      return numbersOf(schema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}, known), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 3, 4),
      });
    case 'object':
      return objectsOf(schema, known);
    default:
      return fc.jsonValue();
  }
}

function textsOf({ pattern, format, minLength = 0, maxLength = 50 }: JsonSchema) {
  if (format === 'date') {
    return fc
      .date({ min: new Date('0001-01-02'), max: new Date('9999-12-30'), noInvalidDate: true })
      .map((date) => date.toISOString().slice(0, 10));
  }
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  return fc.string({ minLength, maxLength: Math.min(maxLength, 200) });
}

function numbersOf({ minimum = -(2 ** 53) + 1, maximum = 2 ** 53 - 1 }: JsonSchema) {
  const within = (from: number, to: number) =>
    fc.integer({ min: Math.max(from, minimum), max: Math.max(Math.min(to, maximum), minimum) });
  return fc.oneof(
    { weight: 5, arbitrary: within(minimum < 0 ? -3 : 0, 100) },
    within(0, 2 ** 31 - 1),
  );
}

function objectsOf({ properties = {}, required = [] }: JsonSchema, known: KnownIds) {
  const fields = Object.entries(properties).map(([name, schema]) => [
    name,
    valuesOf(schema, known, name),
  ]);
  return fc.record(Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>, {
    requiredKeys: [...required],
  });
}

/** The parts of a request, before they are put together. */
interface Parts {
  readonly operation: DescribedOperation;
  readonly method: string;
  readonly path: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer | undefined;
}

/** Requests for an operation: two of three with something broken. */
export function requestsFor(
  operation: DescribedOperation,
  known: KnownIds,
): fc.Arbitrary<FuzzedRequest> {
  const valid = validParts(operation, known);
  const toRequest = (broken?: string) => (parts: Parts) => assemble(parts, broken);
  return fc.oneof(
    { weight: 2, arbitrary: valid.map(toRequest()) },
    ...Object.entries(breakages).map(([what, breakParts]) => ({
      weight: 1,
      arbitrary: valid.chain(breakParts).map(toRequest(what)),
    })),
  );
}

function validParts(operation: DescribedOperation, known: KnownIds): fc.Arbitrary<Parts> {
  const inPlace = (place: Parameter['in']) => {
    const own = operation.parameters.filter((parameter) => parameter.in === place);
    const values = own.map(({ name, schema }) => [
      name,
      valuesOf(schema, known, name).map((value) => String(value)),
    ]);
    return fc.record(Object.fromEntries(values) as Record<string, fc.Arbitrary<string>>, {
      requiredKeys: own.filter(({ required }) => required === true).map(({ name }) => name),
    });
  };
  const { key, body, method } = operation;
  const secret = key === 'shopper' ? 'dev-shopper-key' : 'dev-operator-key';
  return fc
    .record({
      path: inPlace('path'),
      query: inPlace('query'),
      headers: inPlace('header'),
      body: body === undefined ? fc.constant(undefined) : valuesOf(body, known),
    })
    .map(({ body: value, headers, ...rest }) => ({
      ...rest,
      operation,
      method,
      headers: {
        ...(key === 'public' ? {} : { authorization: `Bearer ${secret}` }),
        ...(value === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: value === undefined ? undefined : JSON.stringify(value),
    }));
}

/** Ways of breaking a request. */
const breakages: Readonly<Record<string, (parts: Parts) => fc.Arbitrary<Parts>>> = {
  'a field of the body': (parts) =>
    fc.tuple(fc.nat(), awkward, fc.string()).map(([index, value, name]) => ({
      ...parts,
      headers: { ...parts.headers, 'content-type': 'application/json' },
      body: JSON.stringify(withBrokenField(parts.body, index, value, name)),
    })),
  'the body as a whole': (parts) =>
    awkward.map((value) => ({
      ...parts,
      headers: { ...parts.headers, 'content-type': 'application/json' },
      body: JSON.stringify(value),
    })),
  'the bytes of the body': (parts) =>
    fc.uint8Array({ maxLength: 300 }).map((bytes) => ({
      ...parts,
      headers: { ...parts.headers, 'content-type': 'application/json' },
      body: Buffer.from(bytes),
    })),
  'the type of the body': (parts) =>
    fc
      .constantFrom('text/plain', 'application/xml', 'application/json; charset=utf-16', 'x')
      .map((type) => ({
        ...parts,
        headers: { ...parts.headers, 'content-type': type },
        body: 'x',
      })),
  'a parameter of the path': (parts) =>
    fc
      .oneof(
        fc.string({ unit: 'binary', maxLength: 100 }),
        fc.constantFrom('..', '%', '\0', 'x'.repeat(900)),
      )
      .map((value) => ({
        ...parts,
        path: Object.fromEntries(Object.keys(parts.path).map((name) => [name, value])),
      })),
  'the query': (parts) =>
    fc
      .dictionary(
        fc.constantFrom('limit', 'cursor', 'after', 'type', 'sort', 'day', 'x'),
        fc.string({ unit: 'binary' }),
      )
      .map((query) => ({ ...parts, query: { ...parts.query, ...query } })),
  'a header': (parts) =>
    fc
      .tuple(
        fc.constantFrom(
          'x-user-id',
          'idempotency-key',
          'authorization',
          'last-event-id',
          'traceparent',
          'accept',
          'if-none-match',
        ),
        fc.stringMatching(/^[\x21-\x7e\xa1-\xff]{1,400}$/),
      )
      .map(([name, value]) => ({ ...parts, headers: { ...parts.headers, [name]: value } })),
  'the method': (parts) =>
    fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS').map((method) => ({
      ...parts,
      method,
    })),
};

function withBrokenField(
  body: string | Buffer | undefined,
  index: number,
  value: unknown,
  name: string,
): unknown {
  const object: unknown = typeof body === 'string' ? JSON.parse(body) : undefined;
  if (typeof object !== 'object' || object === null) return { [name]: value };
  const names = [...Object.keys(object), name];
  return { ...object, [names[index % names.length]!]: value };
}

function assemble({ path, query, ...parts }: Parts, broken: string | undefined): FuzzedRequest {
  const url = parts.operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encode(path[name] ?? 'x'),
  );
  const pairs = Object.entries(query).map(([name, value]) => `${encode(name)}=${encode(value)}`);
  // The client that sends them gives a GET no body.
  const body = parts.method === 'GET' ? undefined : parts.body;
  return { ...parts, body, broken, url: pairs.length === 0 ? url : `${url}?${pairs.join('&')}` };
}

// Half of a surrogate pair cannot be written in a URL.
function encode(text: string): string {
  return encodeURIComponent(text.replaceAll(/\p{Surrogate}/gu, '\ufffd'));
}
