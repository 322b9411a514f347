/** Every code that a problem can carry, for the description of the API. */

/** What a code says. */
interface DocumentedProblem {
  readonly status: number;
  /** When it comes, in a line. */
  readonly meaning: string;
}

/** Every code, with its status and what it means. */
export const problems = {
  VALIDATION_FAILED: { status: 400, meaning: 'A field breaks its schema; `errors` names it.' },
  INVALID_BODY: { status: 400, meaning: 'The body is not JSON.' },
  BAD_REQUEST: { status: 400, meaning: 'The URL cannot be read.' },
  UNAUTHENTICATED: { status: 401, meaning: 'There is no API key, or it is not known.' },
  PAYMENT_FAILED: { status: 402, meaning: 'The payment failed and the order was cancelled.' },
  FORBIDDEN: { status: 403, meaning: 'The key is of another role.' },
  PRODUCT_NOT_FOUND: { status: 404, meaning: 'There is no such product.' },
  ORDER_NOT_FOUND: { status: 404, meaning: "There is no such order, or it is another shopper's." },
  METRICS_NOT_FOUND: { status: 404, meaning: 'No event has told of the product yet.' },
  EVENT_NOT_FOUND: { status: 404, meaning: 'There is no such event, or none that was handled.' },
  DEAD_LETTER_NOT_FOUND: { status: 404, meaning: 'There is no such dead letter.' },
  SCHEMA_NOT_FOUND: { status: 404, meaning: 'There is no such type, or no such version of it.' },
  OUT_OF_STOCK: { status: 409, meaning: 'Too few are left; nothing was ordered.' },
  ORDER_CANCELLED: { status: 409, meaning: 'The order was cancelled meanwhile.' },
  ORDER_TIMED_OUT: { status: 409, meaning: 'The order was not decided in time and cancelled.' },
  STOCK_OUT_OF_RANGE: { status: 409, meaning: 'The stock would fall below 0 or grow too large.' },
  DEAD_LETTER_SETTLED: { status: 409, meaning: 'The dead letter is settled already.' },
  REDRIVE_REFUSED: { status: 409, meaning: 'Kafka will never take the message.' },
  UNREADABLE: { status: 409, meaning: 'The dead letter is no message that could be sent back.' },
  REDRIVE_UNDER_WAY: { status: 409, meaning: 'The dead letter is being sent back right now.' },
  REQUEST_UNDER_WAY: {
    status: 409,
    meaning: 'A request with this Idempotency-Key is still being decided.',
  },
  BODY_TOO_LARGE: { status: 413, meaning: 'The body is larger than 64 KiB.' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, meaning: 'The body is not application/json.' },
  IDEMPOTENCY_KEY_REUSED: {
    status: 422,
    meaning: 'The Idempotency-Key belongs to a request with another body.',
  },
  TOO_MANY_REQUESTS: { status: 429, meaning: 'The key makes too many requests a second.' },
  INTERNAL_ERROR: { status: 500, meaning: 'An error on our side; the logs have the requestId.' },
  COMMAND_FAILED: { status: 500, meaning: 'The change was given up, by an error on our side.' },
  DATABASE_UNAVAILABLE: { status: 503, meaning: 'The database is away. Try again.' },
  TEMPORAL_UNAVAILABLE: { status: 503, meaning: 'Nothing has happened. Try again.' },
  OVERLOADED: { status: 503, meaning: 'Too much is asked for at once; nothing has happened.' },
  KAFKA_UNAVAILABLE: { status: 503, meaning: 'Kafka does not answer. Try again.' },
  TOO_MANY_STREAMS: { status: 503, meaning: 'As many streams are open as are allowed.' },
  UNDECIDED: {
    status: 503,
    meaning: 'Not decided yet. The same request with the same Idempotency-Key gets the outcome.',
  },
} as const satisfies Record<string, DocumentedProblem>;

/** A code that a problem can carry. */
export type ProblemCode = keyof typeof problems;

/** The codes by the status that they come with, statuses ascending. */
export function byStatus(codes: readonly ProblemCode[]): [status: number, codes: ProblemCode[]][] {
  const statuses = [...new Set(codes.map((code) => problems[code].status))].sort((a, b) => a - b);
  return statuses.map((status) => [
    status,
    [...new Set(codes)].filter((code) => problems[code].status === status),
  ]);
}
