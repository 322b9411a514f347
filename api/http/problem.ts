/**
 * Problem details of RFC 9457: the error answers of the API.
 */
import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { definitionOf, type ProblemCode } from './problems';

/** Media type of problem details. */
export const problemMediaType = 'application/problem+json; charset=utf-8';

/** What is wrong with one field. */
export interface FieldError {
  /** Dotted path in the body, the name of a parameter, or the name of a header. */
  readonly field: string;
  readonly message: string;
}

/** Overrides and additions to the definition of a problem's code. */
export interface ProblemOptions extends ErrorOptions {
  /** For people, without internals. Default: meaning and remedy of the code. */
  readonly detail?: string;
  /** Status of the answer where the HTTP server has chosen another than the code's. */
  readonly status?: number;
  /** The fields at fault. */
  readonly errors?: readonly FieldError[];
  /** The order that the problem is about, where there is one. */
  readonly orderId?: string;
  /** Headers of the answer. Without `retry-after`, that of the code. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** An error with a known answer: thrown anywhere in a request, it becomes that answer. */
export class Problem extends Error {
  override readonly name: string = 'Problem';
  /** Status of the answer. */
  readonly status: number;
  readonly detail: string;
  readonly errors: readonly FieldError[] | undefined;
  readonly orderId: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    /** Stable, for programs, such as `OUT_OF_STOCK`. */
    readonly code: ProblemCode,
    { detail, status, errors, orderId, headers, ...options }: ProblemOptions = {},
  ) {
    const { meaning, remedy, retryAfterS, ...definition } = definitionOf(code);
    const text = detail ?? `${meaning} ${remedy}`;
    super(text, options);
    this.status = status ?? definition.status;
    this.detail = text;
    this.errors = errors;
    this.orderId = orderId;
    this.headers = {
      ...(retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }),
      ...headers,
    };
  }
}

/** A 400 for one field. */
export function invalidField(field: string, message: string): Problem {
  const errors = [{ field, message }];
  return new Problem('VALIDATION_FAILED', { detail: `${field}: ${message}`, errors });
}

/** Body of an error answer. */
export const problemSchema = z.object({
  type: z.literal('about:blank'),
  title: z.string().describe('reason phrase of the status'),
  status: z.int(),
  code: z.string().describe('stable, for programs'),
  detail: z.string(),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  orderId: z.string().optional().describe('the order that the problem is about'),
  requestId: z.string().optional().describe('identifies the request in the logs'),
});

/** Body of an error answer as JSON. */
export function problemJson(problem: Problem, requestId?: string): string {
  const { status, code, detail, errors, orderId } = problem;
  const title = STATUS_CODES[status] ?? 'Unknown';
  const body: z.infer<typeof problemSchema> = {
    type: 'about:blank',
    title,
    status,
    code,
    detail,
    ...(errors === undefined ? {} : { errors: [...errors] }),
    ...(orderId === undefined ? {} : { orderId }),
    ...(requestId === undefined ? {} : { requestId }),
  };
  return JSON.stringify(body);
}
