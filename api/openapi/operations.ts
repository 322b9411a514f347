/**
 * What the description of the API says of each operation beyond the schemas of its route. Every
 * documented route has its entry here, and a test holds that.
 */
import type { ProblemCode } from '../http/problems';

/** A group of operations, in the order in which they are shown. */
export const tags = {
  Products: 'What the shop sells.',
  Orders: 'Buying: stock is reserved and the payment taken, or neither.',
  Metrics: 'What the collector has counted from the events.',
  Events: 'The audit log, and the events as they are handled.',
  'Dead letters': 'Messages that could not be handled: kept, and sent back or given up.',
  Pipeline: 'The state of what works behind the API.',
  Demonstration: 'Trying the pipeline; only where the development keys are in use.',
  Documents: 'Descriptions of the API and of the events.',
  Process: 'For whatever watches over the process.',
} as const;

/** What is said of an operation. */
export interface OperationDescription {
  readonly operationId: string;
  readonly tag: keyof typeof tags;
  readonly summary: string;
  readonly description?: string;
  /** Whose key it takes; `any` key, or none when it is public. */
  readonly key: 'operator' | 'shopper' | 'any' | 'public';
  /** Whether `X-User-Id` names somebody; only for shoppers where it says so. */
  readonly user?: 'required' | 'of-shopper' | 'optional';
  /** Problems of its own, besides those that follow from its key and its body. */
  readonly problems?: readonly ProblemCode[];
  /** Headers of its answer, by status. */
  readonly headers?: Readonly<Record<number, readonly ('Location' | 'X-Cache')[]>>;
  /** The media type of its answer, where that is not JSON. */
  readonly produces?: string;
  /** A request that works when it is pasted into a shell while `npm start` is running. */
  readonly example: ExampleRequest;
}

/** A request for a shell. */
export interface ExampleRequest {
  /** Path and query as they are sent; `$PRODUCT` and its like are what `after` has put there. */
  readonly url: string;
  readonly body?: object;
  /** What has to be there before. */
  readonly after?: Precondition;
  /** Ends an answer that has no end, after seconds. */
  readonly seconds?: number;
}

/** Something to get hold of first; it is in the shell's variable of that name then. */
export type Precondition = 'PRODUCT' | 'NEW_PRODUCT' | 'MEASURED' | 'ORDER' | 'DEAD_LETTER';

const database: readonly ProblemCode[] = ['DATABASE_UNAVAILABLE'];
const command: readonly ProblemCode[] = ['TEMPORAL_UNAVAILABLE', 'UNDECIDED', 'COMMAND_FAILED'];
const productCommand: readonly ProblemCode[] = [...database, ...command, 'PRODUCT_NOT_FOUND'];
const deadLetterCommand: readonly ProblemCode[] = [
  ...database,
  ...command,
  'DEAD_LETTER_NOT_FOUND',
  'DEAD_LETTER_SETTLED',
];

/** Every documented operation, by method and path. */
export const operations: Readonly<Record<string, OperationDescription>> = {
  'POST /v1/products': {
    operationId: 'registerProduct',
    tag: 'Products',
    summary: 'Put a product on sale',
    key: 'operator',
    problems: [...database, ...command],
    headers: { 201: ['Location'] },
    example: { url: '/v1/products', body: { name: 'Teapot', price: 2_500, stock: 10 } },
  },
  'GET /v1/products': {
    operationId: 'listProducts',
    tag: 'Products',
    summary: 'List the products',
    key: 'any',
    user: 'optional',
    problems: database,
    example: { url: '/v1/products?limit=2' },
  },
  'GET /v1/products/{productId}': {
    operationId: 'viewProduct',
    tag: 'Products',
    summary: 'Look at a product',
    description: 'Counts as a view, of the user where `X-User-Id` names one.',
    key: 'any',
    user: 'optional',
    problems: [...database, 'PRODUCT_NOT_FOUND'],
    headers: { 200: ['X-Cache'] },
    example: { url: '/v1/products/$PRODUCT', after: 'PRODUCT' },
  },
  'POST /v1/products/{productId}/stock-adjustments': {
    operationId: 'adjustStock',
    tag: 'Products',
    summary: 'Change the stock of a product',
    key: 'operator',
    problems: [...productCommand, 'STOCK_OUT_OF_RANGE'],
    example: {
      url: '/v1/products/$PRODUCT/stock-adjustments',
      body: { delta: 5, reason: 'restock' },
      after: 'PRODUCT',
    },
  },
  'PUT /v1/products/{productId}/like': {
    operationId: 'likeProduct',
    tag: 'Products',
    summary: 'Like a product',
    description: 'Liking it twice is liking it once.',
    key: 'shopper',
    user: 'required',
    problems: productCommand,
    example: { url: '/v1/products/$PRODUCT/like', after: 'PRODUCT' },
  },
  'DELETE /v1/products/{productId}/like': {
    operationId: 'unlikeProduct',
    tag: 'Products',
    summary: 'Like a product no more',
    key: 'shopper',
    user: 'required',
    problems: productCommand,
    example: { url: '/v1/products/$PRODUCT/like', after: 'PRODUCT' },
  },
  'GET /v1/products/{productId}/inspection': {
    operationId: 'inspectProduct',
    tag: 'Products',
    summary: 'See what the shop and the cache hold of a product',
    key: 'operator',
    problems: database,
    example: { url: '/v1/products/$PRODUCT/inspection', after: 'PRODUCT' },
  },
  'POST /v1/orders': {
    operationId: 'placeOrder',
    tag: 'Orders',
    summary: 'Place an order',
    description:
      'Tokens of the simulated payment gateway: `tok_approve`, `tok_decline`, `tok_slow`, ' +
      '`tok_lost_answer`, `tok_flaky`, `tok_silent`.',
    key: 'shopper',
    user: 'required',
    problems: [
      ...productCommand,
      'PAYMENT_FAILED',
      'OUT_OF_STOCK',
      'ORDER_CANCELLED',
      'ORDER_TIMED_OUT',
      'ORDER_NOT_FOUND',
    ],
    headers: { 201: ['Location'], 202: ['Location'] },
    example: {
      url: '/v1/orders',
      body: { items: [{ productId: '$PRODUCT', quantity: 1 }], paymentToken: 'tok_approve' },
      after: 'NEW_PRODUCT',
    },
  },
  'GET /v1/orders/{orderId}': {
    operationId: 'findOrder',
    tag: 'Orders',
    summary: 'See where an order stands',
    description: 'Operators see every order, shoppers those of the user whom they name.',
    key: 'any',
    user: 'of-shopper',
    problems: [...database, 'TEMPORAL_UNAVAILABLE', 'ORDER_NOT_FOUND'],
    example: { url: '/v1/orders/$ORDER', after: 'ORDER' },
  },
  'POST /v1/orders/{orderId}/cancel': {
    operationId: 'cancelOrder',
    tag: 'Orders',
    summary: 'Cancel an order',
    description: 'Its payment is given back, and its stock.',
    key: 'any',
    user: 'of-shopper',
    problems: [...database, ...command, 'ORDER_NOT_FOUND'],
    headers: { 202: ['Location'] },
    example: {
      url: '/v1/orders/$ORDER/cancel',
      body: { reason: 'changed my mind' },
      after: 'ORDER',
    },
  },
  'GET /v1/metrics/products': {
    operationId: 'rankProducts',
    tag: 'Metrics',
    summary: 'Rank the products',
    key: 'operator',
    problems: database,
    example: { url: '/v1/metrics/products?sort=views&limit=3' },
  },
  'GET /v1/metrics/products/{productId}': {
    operationId: 'findProductMetrics',
    tag: 'Metrics',
    summary: 'See the numbers of a product',
    key: 'operator',
    problems: [...database, 'METRICS_NOT_FOUND'],
    example: { url: '/v1/metrics/products/$PRODUCT', after: 'MEASURED' },
  },
  'GET /v1/metrics/products/{productId}/users': {
    operationId: 'listProductUsers',
    tag: 'Metrics',
    summary: 'See what each user did with a product',
    key: 'operator',
    problems: database,
    example: { url: '/v1/metrics/products/$PRODUCT/users', after: 'MEASURED' },
  },
  'GET /v1/metrics/products/{productId}/history': {
    operationId: 'listProductHistory',
    tag: 'Metrics',
    summary: 'See the events of a product',
    key: 'operator',
    problems: database,
    example: { url: '/v1/metrics/products/$PRODUCT/history?limit=5', after: 'MEASURED' },
  },
  'GET /v1/metrics/rates': {
    operationId: 'readRates',
    tag: 'Metrics',
    summary: 'See how many events were handled, and how fast',
    key: 'operator',
    problems: database,
    example: { url: '/v1/metrics/rates' },
  },
  'GET /v1/events': {
    operationId: 'listEvents',
    tag: 'Events',
    summary: 'Read the audit log',
    key: 'operator',
    problems: database,
    example: { url: '/v1/events?type=StockAdjusted&limit=2' },
  },
  'GET /v1/stream': {
    operationId: 'streamHandledEvents',
    tag: 'Events',
    summary: 'Follow the handled events live',
    key: 'operator',
    problems: [...database, 'TOO_MANY_STREAMS'],
    produces: 'text/event-stream',
    example: { url: '/v1/stream?recent=3', seconds: 3 },
  },
  'GET /v1/dead-letters': {
    operationId: 'listDeadLetters',
    tag: 'Dead letters',
    summary: 'List the dead letters',
    key: 'operator',
    problems: database,
    example: { url: '/v1/dead-letters?status=parked' },
  },
  'GET /v1/dead-letters/{id}': {
    operationId: 'findDeadLetter',
    tag: 'Dead letters',
    summary: 'See a dead letter with its bytes',
    key: 'operator',
    problems: [...database, 'DEAD_LETTER_NOT_FOUND'],
    example: { url: '/v1/dead-letters/$DEAD_LETTER', after: 'DEAD_LETTER' },
  },
  'POST /v1/dead-letters/{id}/redrive': {
    operationId: 'redriveDeadLetter',
    tag: 'Dead letters',
    summary: 'Send a dead letter back to its topic',
    description: 'With the same bytes it may well be parked again, as a dead letter of its own.',
    key: 'operator',
    problems: [...deadLetterCommand, 'REDRIVE_REFUSED', 'UNREADABLE'],
    example: {
      url: '/v1/dead-letters/$DEAD_LETTER/redrive',
      body: { again: false },
      after: 'DEAD_LETTER',
    },
  },
  'POST /v1/dead-letters/{id}/discard': {
    operationId: 'discardDeadLetter',
    tag: 'Dead letters',
    summary: 'Give a dead letter up',
    key: 'operator',
    problems: [...deadLetterCommand, 'REDRIVE_UNDER_WAY'],
    example: {
      url: '/v1/dead-letters/$DEAD_LETTER/discard',
      body: { reason: 'a test message' },
      after: 'DEAD_LETTER',
    },
  },
  'GET /v1/lag': {
    operationId: 'readLag',
    tag: 'Pipeline',
    summary: 'See how far behind the collector is',
    key: 'operator',
    problems: ['KAFKA_UNAVAILABLE'],
    example: { url: '/v1/lag' },
  },
  'GET /v1/processes': {
    operationId: 'listProcesses',
    tag: 'Pipeline',
    summary: 'See which processes are at work',
    key: 'operator',
    example: { url: '/v1/processes' },
  },
  'GET /v1/dashboard/settings': {
    operationId: 'readDashboardSettings',
    tag: 'Pipeline',
    summary: 'Read what the dashboard must know of this installation',
    key: 'operator',
    example: { url: '/v1/dashboard/settings' },
  },
  'POST /v1/demonstration/orders': {
    operationId: 'demonstrateOrder',
    tag: 'Demonstration',
    summary: 'Buy a product, registering one if need be',
    key: 'operator',
    problems: [...productCommand, 'OUT_OF_STOCK', 'ORDER_CANCELLED'],
    example: {
      url: '/v1/demonstration/orders',
      body: { productId: '$PRODUCT' },
      after: 'NEW_PRODUCT',
    },
  },
  'POST /v1/demonstration/redeliveries': {
    operationId: 'demonstrateRedelivery',
    tag: 'Demonstration',
    summary: 'Send an event to its topic a second time',
    key: 'operator',
    problems: [...database, 'KAFKA_UNAVAILABLE', 'EVENT_NOT_FOUND'],
    example: { url: '/v1/demonstration/redeliveries', body: {} },
  },
  'POST /v1/demonstration/poison': {
    operationId: 'demonstratePoison',
    tag: 'Demonstration',
    summary: 'Send a message that is no event',
    key: 'operator',
    problems: [...database, 'KAFKA_UNAVAILABLE'],
    example: { url: '/v1/demonstration/poison', body: {} },
  },
  'GET /openapi.json': {
    operationId: 'readOpenApi',
    tag: 'Documents',
    summary: 'Read this description (OpenAPI 3.1)',
    key: 'public',
    example: { url: '/openapi.json' },
  },
  'GET /asyncapi.json': {
    operationId: 'readAsyncApi',
    tag: 'Documents',
    summary: 'Read the description of the topics and events (AsyncAPI 3.0)',
    key: 'public',
    example: { url: '/asyncapi.json' },
  },
  'GET /schemas/{type}/{version}': {
    operationId: 'readSchema',
    tag: 'Documents',
    summary: "Read the schema of an event's data (JSON Schema 2020-12)",
    description: "Events name it in `dataschema`. A released version's meaning never changes.",
    key: 'public',
    problems: ['VALIDATION_FAILED', 'SCHEMA_NOT_FOUND'],
    produces: 'application/schema+json',
    example: { url: '/schemas/StockAdjusted/1' },
  },
  'GET /healthz': {
    operationId: 'isAlive',
    tag: 'Process',
    summary: 'Ask whether the process lives',
    key: 'public',
    example: { url: '/healthz' },
  },
  'GET /readyz': {
    operationId: 'isReady',
    tag: 'Process',
    summary: 'Ask whether the process can work, dependency by dependency',
    description: 'Degraded is ready: what is down can be done without for a while.',
    key: 'public',
    example: { url: '/readyz' },
  },
  'GET /metrics': {
    operationId: 'readMetrics',
    tag: 'Process',
    summary: 'Read the metrics of the process, for Prometheus',
    key: 'public',
    produces: 'text/plain',
    example: { url: '/metrics' },
  },
};
