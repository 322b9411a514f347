/**
 * Validation of requests by their schemas. What is wrong is told in plain words that name the field and
 * the bounds that hold: `limit: must be a whole number from 1 to 100`.
 */
import type { FastifySchemaCompiler } from 'fastify';
import { z } from 'zod';
import { Problem, type FieldError } from './problem';

/** Compiles the schema of a part of a request to its check, whose errors are 400 problems. */
export const validateInput: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart = 'body' }) => {
  const error: z.core.$ZodErrorMap = (issue) => messageOf(issue, httpPart);
  return (data) => {
    const result = schema.safeParse(data, { error });
    return result.success
      ? { value: result.data }
      : { error: invalidInput(result.error.issues, httpPart) };
  };
};

/** A whole number in a URL: decimal digits and nothing else, within bounds. */
export function wholeNumberParameter(minimum: number, maximum: number) {
  const digits = (input: unknown): unknown =>
    typeof input === 'string' && /^-?\d+$/.test(input) ? Number(input) : input;
  return z.preprocess(digits, z.int().min(minimum).max(maximum));
}

/** Most errors that one answer names: a body may have tens of thousands. */
const mostErrors = 100;

function invalidInput(issues: readonly z.core.$ZodIssue[], part: string): Problem {
  const all = issues.slice(0, mostErrors).flatMap((issue) => fieldErrors(issue, part));
  // A number that breaks two of its bounds is told of all of them at once.
  const distinct = new Map(all.map((error) => [`${error.field}: ${error.message}`, error]));
  const errors = [...distinct.values()].slice(0, mostErrors);
  const detail = errors.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new Problem('VALIDATION_FAILED', { detail, errors });
}

function fieldErrors(issue: z.core.$ZodIssue, part: string): FieldError[] {
  const path = issue.path.map(String);
  if (issue.code !== 'unrecognized_keys') {
    return [{ field: path.join('.') || part, message: issue.message }];
  }
  return issue.keys.map((key) => ({
    field: [...path, key].join('.'),
    message: 'is not a known field',
  }));
}

// Undefined where the library's own words will do.
function messageOf(issue: z.core.$ZodRawIssue, part: string): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return typeMessage(issue, part);
    case 'too_small':
    case 'too_big':
      return boundsMessage(issue);
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.join(', ')}`;
    case 'invalid_format':
      return issue.format === 'date' ? 'must be a date such as 2026-01-31' : undefined;
    default:
      return undefined;
  }
}

function typeMessage(
  { input, expected, schema, path = [] }: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidType>,
  part: string,
): string {
  // A request without a body has null for one.
  if (input === undefined || (input === null && path.length === 0)) return 'is required';
  if (part === 'querystring' && Array.isArray(input)) return 'must be given once';
  if (expected === 'number' || expected === 'int') return numberMessage(schema);
  return typeMessages[expected] ?? `must be ${expected}`;
}

const typeMessages: Readonly<Record<string, string>> = {
  string: 'must be a string',
  boolean: 'must be true or false',
  object: 'must be an object',
  array: 'must be an array',
};

function boundsMessage({
  origin,
  schema,
}: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig>): string {
  const { minLength, maxLength, minItems, maxItems } = describedBy(schema);
  switch (origin) {
    case 'string':
      return `must have ${rangeOf(minLength, maxLength)} characters`;
    case 'array':
      return `must have ${rangeOf(minItems, maxItems)} items`;
    default:
      return numberMessage(schema);
  }
}

function numberMessage(schema: z.core.$ZodType | undefined): string {
  const { type, minimum, maximum } = describedBy(schema);
  const kind = type === 'integer' ? 'a whole number' : 'a number';
  return `must be ${kind} from ${rangeOf(minimum, maximum)}`;
}

const descriptions = new WeakMap<z.core.$ZodType, z.core.JSONSchema.BaseSchema>();

// The bounds as the OpenAPI document has them: those of the whole schema, not only the one that is broken.
function describedBy(schema: z.core.$ZodType | undefined): z.core.JSONSchema.BaseSchema {
  if (schema === undefined) return {};
  const known = descriptions.get(schema);
  if (known !== undefined) return known;
  const described = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  descriptions.set(schema, described);
  return described;
}

function rangeOf(least: number | undefined, most: number | undefined): string {
  if (most === undefined) return `at least ${String(least)}`;
  return `${least ?? 0} to ${most}`;
}
