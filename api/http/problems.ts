/**
 * Every problem that the API answers with. Thrown errors and the OpenAPI document both read this
 * table, so a code means one thing, has one status, and cannot be thrown without standing here.
 */

/** What a code says. Its meaning and its remedy are the default detail of an answer. */
interface ProblemDefinition {
  /** HTTP status of the answer. */
  readonly status: number;
  /** What is wrong. */
  readonly meaning: string;
  /** What the client does about it. */
  readonly remedy: string;
  /** `Retry-After` of the answer, in seconds. */
  readonly retryAfterS?: number;
}

/** Every code, by status. */
export const problems = {
  VALIDATION_FAILED: {
    status: 400,
    meaning: 'A field, parameter or header is invalid.',
    remedy: 'Correct what errors lists.',
  },
  INVALID_BODY: {
    status: 400,
    meaning: 'The body is not valid JSON in UTF-8.',
    remedy: 'Send a JSON body in UTF-8.',
  },
  BAD_REQUEST: {
    status: 400,
    meaning: 'The request is malformed.',
    remedy: 'Correct the URL and the HTTP syntax.',
  },
  UNAUTHENTICATED: {
    status: 401,
    meaning: 'The API key is missing or unknown.',
    remedy: 'Send Authorization: Bearer <secret>.',
  },
  PAYMENT_FAILED: {
    status: 402,
    meaning: 'The payment failed; the order was cancelled.',
    remedy: 'Place a new order with another payment token.',
  },
  FORBIDDEN: {
    status: 403,
    meaning: 'The role of the API key may not do this.',
    remedy: 'Use a key of the required role.',
  },
  NOT_FOUND: {
    status: 404,
    meaning: 'No such route or file.',
    remedy: 'See /docs for the routes.',
  },
  PRODUCT_NOT_FOUND: {
    status: 404,
    meaning: 'No such product.',
    remedy: 'Check the product ID.',
  },
  ORDER_NOT_FOUND: {
    status: 404,
    meaning: "No such order, or another user's.",
    remedy: 'Check the order ID and X-User-Id.',
  },
  METRICS_NOT_FOUND: {
    status: 404,
    meaning: 'No metrics: no event of this product has been handled yet.',
    remedy: 'Check the product ID, or retry once an event has been handled.',
  },
  EVENT_NOT_FOUND: {
    status: 404,
    meaning: 'No such event, or it has not been handled yet.',
    remedy: 'Check the event ID, or place an order first.',
  },
  DEAD_LETTER_NOT_FOUND: {
    status: 404,
    meaning: 'No such dead letter.',
    remedy: 'Check the ID.',
  },
  SCHEMA_NOT_FOUND: {
    status: 404,
    meaning: 'No such event type, or no such version of its schema.',
    remedy: 'Use the dataschema of an event.',
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    meaning: 'The path does not take this method.',
    remedy: 'Use a method that Allow names; see /docs.',
  },
  REQUEST_TIMEOUT: {
    status: 408,
    meaning: 'The request did not arrive in time.',
    remedy: 'Retry.',
  },
  OUT_OF_STOCK: {
    status: 409,
    meaning: 'Not enough stock; nothing was ordered.',
    remedy: 'Order fewer units, or retry after a restock.',
  },
  ORDER_CANCELLED: {
    status: 409,
    meaning: 'The order was cancelled before it was confirmed.',
    remedy: 'Place a new order.',
  },
  ORDER_TIMED_OUT: {
    status: 409,
    meaning: 'The order was not decided in time and was cancelled.',
    remedy: 'Place a new order.',
  },
  STOCK_OUT_OF_RANGE: {
    status: 409,
    meaning: 'The stock would leave the range from 0 to 2^52; nothing was changed.',
    remedy: 'Use a smaller delta.',
  },
  DEAD_LETTER_SETTLED: {
    status: 409,
    meaning: 'The dead letter was already redriven or discarded.',
    remedy: 'To send it once more, redrive it with again: true.',
  },
  REDRIVE_REFUSED: {
    status: 409,
    meaning: 'Kafka rejects the message permanently; nothing was sent.',
    remedy: 'Inspect the message, then discard the dead letter.',
  },
  UNREADABLE: {
    status: 409,
    meaning: 'The dead letter holds no readable message; nothing was sent.',
    remedy: 'Inspect its bytes, then discard it.',
  },
  REDRIVE_UNDER_WAY: {
    status: 409,
    meaning: 'A redrive of the dead letter is in progress.',
    remedy: 'Read the dead letter again in a moment to see its outcome.',
  },
  COUNT_DIFFERS: {
    status: 409,
    meaning: 'Another number of dead letters matches than expected; nothing was changed.',
    remedy: 'Look at the groups again, and send the number that you mean.',
  },
  CONSUMPTION_HELD: {
    status: 409,
    meaning: 'Consumption of this is held already; nothing was changed.',
    remedy: 'GET /v1/pipeline says by whom and why.',
  },
  CONSUMPTION_NOT_HELD: {
    status: 409,
    meaning: 'Consumption of exactly this is not held; nothing was changed.',
    remedy: 'Resume what GET /v1/pipeline lists: everything, a topic or a partition.',
  },
  NOTHING_TO_REPLAY: {
    status: 409,
    meaning: 'Kafka has no message of what is to be read again; nothing was requested.',
    remedy: 'Ask for offsets that Kafka has: GET /v1/pipeline/lag has the ends of the partitions.',
  },
  REPLAY_TOO_LARGE: {
    status: 409,
    meaning: 'One replay does not take that much; nothing was requested.',
    remedy: 'Ask for less at a time.',
  },
  REQUEST_UNDER_WAY: {
    status: 409,
    meaning: 'A request with this Idempotency-Key is still in progress.',
    remedy: 'Retry with the same key.',
    retryAfterS: 1,
  },
  BODY_TOO_LARGE: {
    status: 413,
    meaning: 'The body is larger than 64 KiB.',
    remedy: 'Send a smaller body.',
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    meaning: 'The body is not application/json.',
    remedy: 'Send the body as application/json.',
  },
  UNSUPPORTED_CONTENT_ENCODING: {
    status: 415,
    meaning: 'The body is compressed.',
    remedy: 'Send the body without Content-Encoding.',
  },
  IDEMPOTENCY_KEY_REUSED: {
    status: 422,
    meaning: 'This Idempotency-Key belongs to a request with another body.',
    remedy: 'Use a new key.',
  },
  TOO_MANY_REQUESTS: {
    status: 429,
    meaning: 'The API key exceeds its rate limit.',
    remedy: 'Retry after Retry-After seconds, at a lower rate.',
  },
  TOO_MANY_ORDERS: {
    status: 429,
    meaning: 'The user has as many undecided orders as the shop allows. Nothing was ordered.',
    remedy: 'Retry after Retry-After seconds, once an order is decided.',
  },
  HEADERS_TOO_LARGE: {
    status: 431,
    meaning: 'The headers are too large.',
    remedy: 'Send less than 16 KiB of headers.',
  },
  INTERNAL_ERROR: {
    status: 500,
    meaning: 'Internal error.',
    remedy: 'Search the logs for the requestId.',
  },
  COMMAND_FAILED: {
    status: 500,
    meaning: 'The workflow failed on an internal error.',
    remedy: 'Search the logs for the requestId, and see the history of the workflow.',
  },
  DATABASE_UNAVAILABLE: {
    status: 503,
    meaning: 'PostgreSQL is unavailable.',
    remedy: 'Retry.',
    retryAfterS: 1,
  },
  TEMPORAL_UNAVAILABLE: {
    status: 503,
    meaning: 'Temporal is unavailable; nothing was started.',
    remedy: 'Retry.',
    retryAfterS: 2,
  },
  OVERLOADED: {
    status: 503,
    meaning: 'The API is overloaded; nothing was changed.',
    remedy: 'Retry with backoff.',
    retryAfterS: 1,
  },
  KAFKA_UNAVAILABLE: {
    status: 503,
    meaning: 'Kafka is unavailable.',
    remedy: 'Retry.',
    retryAfterS: 2,
  },
  TOO_MANY_STREAMS: {
    status: 503,
    meaning: 'The limit of open streams is reached.',
    remedy: 'Close a stream, or retry later.',
    retryAfterS: 10,
  },
  UNDECIDED: {
    status: 503,
    meaning: 'The outcome is not known yet.',
    remedy:
      'Retry the same request to get it; a POST with the same Idempotency-Key, since without it ' +
      'it may be carried out twice.',
    retryAfterS: 2,
  },
} as const satisfies Record<string, ProblemDefinition>;

/** A code that a problem can carry. */
export type ProblemCode = keyof typeof problems;

/** The definition of a code. */
export function definitionOf(code: ProblemCode): ProblemDefinition {
  return problems[code];
}
