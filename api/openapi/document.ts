/**
 * The OpenAPI 3.1 document of the API: the schemas come from the routes, and what else is to be said
 * of them from the operations that the routes declare.
 */
import swagger from '@fastify/swagger';
import fastifyPlugin from 'fastify-plugin';
import { jsonSchemaTransform } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { toJsonSchema } from '../../events/json-schemas';
import { tags, type Operation } from '../http/operation';
import { problemSchema } from '../http/problem';
import { definitionOf, type ProblemCode } from '../http/problems';
import { exampleServer, exampleUser, shellExample } from './examples';

/** Describes every route that is registered after it; `app.swagger()` is the document. */
export const openApi = fastifyPlugin(async (app) => {
  const operations = new Map<string, Operation>();
  app.addHook('onRoute', ({ method, url, schema, config }) => {
    if (schema?.hide === true) return;
    const name = `${String(method)} ${url.replaceAll(/:(\w+)/g, '{$1}')}`;
    if (config?.operation === undefined) throw new TypeError(`${name} declares no operation.`);
    operations.set(name, config.operation);
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Commerce API',
        version: '1.0.0',
        description,
        license: { name: 'MIT', identifier: 'MIT' } as { name: string },
      },
      servers: [
        { url: '/', description: 'this server' },
        { url: exampleServer, description: 'the local server of `npm start`' },
      ],
      tags: Object.entries(tags).map(([name, text]) => ({ name, description: text })),
      components: { securitySchemes: { apiKey } },
    },
    convertConstToEnum: false,
    transform: jsonSchemaTransform,
    transformObject: (document) => {
      if (!('openapiObject' in document)) throw new TypeError('The document is made as OpenAPI 3.');
      return describe(document.openapiObject as unknown as Document, operations);
    },
  });
});

const description = `
A shop that publishes every change as an event to Kafka, and metrics computed from these events.

- **API keys.** \`Authorization: Bearer <secret>\`. The role of a key, \`operator\` or \`shopper\`, decides what
  it may do. The secrets of the development keys are \`dev-operator-key\` and \`dev-shopper-key\`.
- **Users.** \`X-User-Id\` names the acting user.
- **Retries.** Every \`POST\` takes an \`Idempotency-Key\`: a retry with the same key gets the first answer
  again and changes nothing twice. \`PUT\` and \`DELETE\` are idempotent.
- **Load.** 429: the API key exceeds its rate limit. 503: overloaded, or a dependency is unavailable.
  \`Retry-After\` says when to retry.
- **Problems** are \`application/problem+json\` (RFC 9457) with a stable \`code\`.
- **Pages.** \`nextCursor\` of a page is the \`cursor\` (or \`after\`) of the next one.
- **Amounts** are integers in the smallest unit of the currency.

The events themselves are described in [/asyncapi.json](/asyncapi.json).`.trim();

const apiKey = {
  type: 'http',
  scheme: 'bearer',
  description: "The secret of an API key, such as the development keys' `dev-operator-key`.",
} as const;

/** The parts of a document that are read and completed here. */
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RouteOperation>>>>;
  readonly components: Readonly<Record<string, object>>;
}

interface RouteOperation {
  readonly parameters?: readonly object[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Media>> };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Answer {
  readonly description: string;
  readonly content?: Readonly<Record<string, Media>>;
}

interface Media {
  readonly schema: object;
}

function describe(document: Document, operations: ReadonlyMap<string, Operation>): Document {
  const paths = Object.entries(document.paths).map(([path, item]) => {
    const described = Object.entries(item).map(([verb, operation]) => {
      const method = verb.toUpperCase();
      return [verb, describeOperation(method, operations.get(`${method} ${path}`)!, operation)];
    });
    return [path, Object.fromEntries(described) as Record<string, RouteOperation>] as const;
  });
  return {
    ...document,
    components: { ...document.components, ...sharedComponents },
    paths: Object.fromEntries(paths),
  };
}

function describeOperation(
  method: string,
  known: Operation,
  operation: RouteOperation,
): RouteOperation {
  const codes = codesOf(method, known);
  return {
    operationId: known.operationId,
    summary: known.summary,
    description: descriptionOf(method, known),
    tags: [known.tag],
    security: securityOf(known),
    parameters: [...(operation.parameters ?? []), ...sharedParametersOf(method, known)],
    ...(operation.requestBody === undefined
      ? {}
      : { requestBody: withExample(operation.requestBody, known.example.body) }),
    responses: { ...answersOf(method, operation, known), ...problemAnswers(codes) },
  } as RouteOperation;
}

// The role that the key needs, as OpenAPI 3.1 lets a requirement name it.
function securityOf({ key }: Operation): object[] {
  if (key === 'public') return [];
  return [{ apiKey: key === 'any' ? [] : [key] }];
}

const keyDescriptions: Readonly<Record<Operation['key'], string>> = {
  operator: 'For operators.',
  shopper: 'For shoppers.',
  any: 'For any API key.',
  public: 'No API key needed.',
};

function descriptionOf(method: string, known: Operation): string {
  const example = `\`\`\`sh\n${shellExample(method, known)}\n\`\`\``;
  const parts = [known.description, keyDescriptions[known.key], example];
  return parts.filter((part) => part !== undefined).join('\n\n');
}

function sharedParametersOf(method: string, { key, user }: Operation) {
  return [
    ...(user === undefined ? [] : [refTo('parameters', userParameters[user])]),
    ...(isIdempotent(method, key) ? [refTo('parameters', 'IdempotencyKey')] : []),
  ];
}

const userParameters = {
  required: 'ActingUser',
  'of-shopper': 'ActingUserOfShopper',
  optional: 'ActingUserIfAny',
} as const;

function withExample(requestBody: NonNullable<RouteOperation['requestBody']>, example?: object) {
  const content = Object.entries(requestBody.content).map(([type, media]) => [
    type,
    example === undefined ? media : { ...media, example: withoutVariables(example) },
  ]);
  // Which bodies may be left out, their schemas say: those that take null.
  const required = !Object.values(requestBody.content).some(({ schema }) => takesNull(schema));
  return { required, content: Object.fromEntries(content) as Record<string, Media> };
}

function takesNull(schema: { type?: unknown; anyOf?: readonly object[] }): boolean {
  return schema.type === 'null' || (schema.anyOf ?? []).some(takesNull);
}

function withoutVariables(example: object): unknown {
  const sample = (text: string) => text.replace(/^\$.*$/, 'the-id-of-a-product');
  return JSON.parse(JSON.stringify(example), (_, value: unknown) =>
    typeof value === 'string' ? sample(value) : value,
  );
}

function answersOf(
  method: string,
  { responses }: RouteOperation,
  known: Operation,
): Record<string, object> {
  const decided = Object.entries(responses).filter(([status]) => status !== 'default');
  return Object.fromEntries(
    decided.map(([status, answer]) => [
      status,
      {
        ...answer,
        description:
          answer.description === 'Default Response' ? titleOf(status) : answer.description,
        ...headersOf(method, known, status),
        ...contentOf(answer, known),
      },
    ]),
  );
}

function titleOf(status: string): string {
  return titles[status] ?? 'The answer.';
}

const titles: Readonly<Record<string, string>> = { 200: 'OK.', 201: 'Created.', 503: 'Not ready.' };

function headersOf(method: string, { headers, key }: Operation, status: string) {
  const names = headers?.[Number(status)] ?? [];
  const replayed = isIdempotent(method, key) && status !== '202' ? ['Idempotency-Replayed'] : [];
  const entries = [...names, ...replayed].map((name) => [name, refTo('headers', name)]);
  return entries.length === 0 ? {} : { headers: Object.fromEntries(entries) as object };
}

function contentOf({ content }: Answer, { produces }: Operation) {
  if (produces === undefined) return { content };
  const media = Object.values(content ?? {})[0] ?? { schema: { type: 'string' } };
  return { content: { [produces]: media } };
}

function codesOf(method: string, { key, problems: own = [] }: Operation): ProblemCode[] {
  const keyed = key !== 'public';
  return [
    ...own,
    'BAD_REQUEST',
    'INTERNAL_ERROR',
    ...(keyed ? (['VALIDATION_FAILED', 'UNAUTHENTICATED', 'TOO_MANY_REQUESTS'] as const) : []),
    ...(keyed && (method !== 'GET' || own.includes('DATABASE_UNAVAILABLE'))
      ? (['OVERLOADED'] as const)
      : []),
    ...(key === 'operator' || key === 'shopper' ? (['FORBIDDEN'] as const) : []),
    // A body that an operation does not ask for is read all the same.
    ...(method === 'GET' ? [] : bodyProblems),
    ...(isIdempotent(method, key) ? idempotencyProblems : []),
  ];
}

const bodyProblems: readonly ProblemCode[] = [
  'INVALID_BODY',
  'BODY_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'UNSUPPORTED_CONTENT_ENCODING',
];

/** Whether an `Idempotency-Key` is heeded. */
function isIdempotent(method: string, key: Operation['key']): boolean {
  return method === 'POST' && key !== 'public';
}

const idempotencyProblems: readonly ProblemCode[] = [
  'REQUEST_UNDER_WAY',
  'IDEMPOTENCY_KEY_REUSED',
  'DATABASE_UNAVAILABLE',
  'UNDECIDED',
];

function problemAnswers(codes: readonly ProblemCode[]): Record<string, object> {
  return Object.fromEntries(
    byStatus(codes).map(([status, ofStatus]) => [
      status,
      {
        description: ofStatus.map(problemText).join('\n\n'),
        ...(status === 429 || status === 503
          ? { headers: { 'Retry-After': refTo('headers', 'Retry-After') } }
          : {}),
        content: {
          'application/problem+json': {
            schema: {
              ...refTo('schemas', 'Problem'),
              properties: { status: { const: status }, code: { enum: ofStatus } },
            },
          },
        },
      },
    ]),
  );
}

function problemText(code: ProblemCode): string {
  const { meaning, remedy } = definitionOf(code);
  return `\`${code}\`: ${meaning} ${remedy}`;
}

function byStatus(codes: readonly ProblemCode[]): [status: number, codes: ProblemCode[]][] {
  const statusOf = (code: ProblemCode): number => definitionOf(code).status;
  const statuses = [...new Set(codes.map(statusOf))].sort((one, other) => one - other);
  return statuses.map((status) => [
    status,
    [...new Set(codes)].filter((code) => statusOf(code) === status),
  ]);
}

function refTo(kind: keyof typeof sharedComponents, name: string) {
  return { $ref: `#/components/${kind}/${name}` };
}

const userId = { ...toJsonSchema(aggregateIdSchema, 'draft-2020-12'), examples: [exampleUser] };

const actingUser = { name: 'X-User-Id', in: 'header', schema: userId } as const;

const header = (text: string) => ({ description: text, schema: { type: 'string' } });

const sharedComponents = {
  schemas: { Problem: toJsonSchema(problemSchema, 'draft-2020-12') },
  parameters: {
    ActingUser: { ...actingUser, required: true, description: 'The acting user.' },
    ActingUserOfShopper: {
      ...actingUser,
      required: false,
      description: 'The acting user. Required with a key of the role shopper.',
    },
    ActingUserIfAny: { ...actingUser, required: false, description: 'The acting user, if any.' },
    IdempotencyKey: {
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description: 'Idempotency key: a retry with the same key gets the first answer again.',
      schema: { type: 'string', pattern: '^[\\x20-\\x7e]{1,255}$' },
    },
  },
  headers: {
    Location: header('URL of the resource.'),
    'X-Cache': {
      description: 'Cache hit or miss.',
      schema: toJsonSchema(z.enum(['hit', 'miss'])),
    },
    'Retry-After': header('Seconds to wait before a retry.'),
    'Idempotency-Replayed': header('Set when the answer is that of an earlier request.'),
  },
};
