/** The operations in the API's OpenAPI document, for properties of each. */
import type { FastifyInstance } from 'fastify';

/** The parts of a JSON Schema that these tests read. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
}

/** A parameter of an operation. */
export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: JsonSchema;
}

export interface DescribedOperation {
  /** In capitals. */
  readonly method: string;
  /** With its parameters in braces. */
  readonly path: string;
  /** The role of the required key. */
  readonly key: 'operator' | 'shopper' | 'any' | 'public';
  readonly parameters: readonly Parameter[];
  readonly body: JsonSchema | undefined;
}

interface RawOperation {
  /** The role that the key must have; none where any will do. */
  readonly security: readonly { readonly apiKey: readonly ('operator' | 'shopper')[] }[];
  readonly parameters?: readonly (Parameter | { readonly $ref: string })[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema: JsonSchema }>> };
}

/** The parts of an OpenAPI document that are read here. */
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  readonly components: { readonly parameters: Readonly<Record<string, Parameter>> };
}

export function operationsOf({ paths, components }: OpenApiDocument): DescribedOperation[] {
  const resolve = (parameter: Parameter | { readonly $ref: string }): Parameter =>
    '$ref' in parameter ? components.parameters[parameter.$ref.split('/').at(-1)!]! : parameter;
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([verb, { security, parameters = [], requestBody }]) => ({
      method: verb.toUpperCase(),
      path,
      key: keyOf(security),
      parameters: parameters.map(resolve),
      body: requestBody?.content['application/json']?.schema,
    })),
  );
}

function keyOf([requirement]: RawOperation['security']): DescribedOperation['key'] {
  return requirement === undefined ? 'public' : (requirement.apiKey[0] ?? 'any');
}

/** The operations of a server. */
export async function readOperations(app: FastifyInstance): Promise<DescribedOperation[]> {
  return operationsOf((await app.inject('/openapi.json')).json<OpenApiDocument>());
}

/** The URL of an operation, with a valid value for each path parameter. */
export function sampleUrl({ path }: DescribedOperation): string {
  return path
    .replace('{id}', '1')
    .replace('{version}', '1')
    .replaceAll(/\{\w+\}/g, 'tea');
}
