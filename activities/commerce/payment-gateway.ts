/**
 * The payment gateway: the port for payments, and its HTTP adapter.
 *
 * A call that moves money has three outcomes: succeeded, declined, or unknown (timeout, connection
 * loss, 5xx, another call in progress, unreadable response). Unknown does not mean failed: retry with the same idempotency key,
 * or look it up with `findCharge`; before abandoning it call `voidCharge`, since the request may still
 * be in flight when a lookup finds nothing.
 */
import { types } from 'node:util';
import { z } from 'zod';

interface ChargeRequest {
  /**
   * Idempotency key of the charge: all calls with it charge at most once. Derived from the order, never
   * random. 1 to 255 printable ASCII characters, no spaces.
   */
  idempotencyKey: string;
  /** In the smallest currency unit; a whole number from 0 up. */
  amount: number;
  /** Payment token issued to the shopper by the gateway. Never logged. */
  token: string;
  /** The shop's reference, such as an order ID; 1 to 255 characters. */
  reference: string;
}

/** A captured charge. */
interface Charge {
  /** The gateway's name for it. */
  chargeId: string;
  /** As in the request. */
  idempotencyKey: string;
  /** As in the request. */
  reference: string;
  /** In the smallest currency unit. */
  amount: number;
}

/** Result of a charge lookup. */
interface FoundCharge extends Charge {
  /** How much of it is refunded so far; in the smallest currency unit. */
  refundedAmount: number;
}

/**
 * The port. Every method throws `PaymentGatewayUnavailableError` or `PaymentInProgressError` when its
 * outcome is unknown and `PaymentGatewayProtocolError` when the response or the request is invalid, and
 * is idempotent: a retry with the same arguments never moves money twice.
 */
export interface PaymentGateway {
  /**
   * Charges once for each key, and resolves when the money is captured.
   *
   * A `PaymentGatewayUnavailableError` or `PaymentInProgressError` means that the outcome is unknown:
   * call `findCharge({ idempotencyKey })` before charging again, never charge with another key, and
   * call `voidCharge` before abandoning it.
   *
   * @throws PaymentDeclinedError declined, final: no money was or will be taken.
   */
  charge(request: ChargeRequest): Promise<Charge>;

  /**
   * The charge that was captured with a key, or `undefined` when none is. `undefined` is not final: a
   * request that timed out may still be in flight, so charging again with the same key is safe, but not
   * abandoning it without `voidCharge`. A voided charge is still found, with all of its amount
   * refunded.
   */
  findCharge(request: { idempotencyKey: string }): Promise<FoundCharge | undefined>;

  /**
   * Voids a key for good: what was captured with it is refunded, and a charge with it that arrives
   * later is declined. The safe end of a charge whose outcome is unknown. Resolves with the captured
   * charge, or `undefined`.
   */
  voidCharge(request: { idempotencyKey: string }): Promise<FoundCharge | undefined>;
}

/** The gateway declined the charge. Final: the same key is declined again, and no money was taken. */
export class PaymentDeclinedError extends Error {
  override readonly name = 'PaymentDeclinedError';
  readonly code = 'PAYMENT_DECLINED';
  readonly retryable = false;

  constructor(
    /** The gateway's reason code, such as `declined` or `invalid_token`. */
    readonly reason: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The gateway did not answer, or is temporarily unavailable. The outcome is unknown: look it up, then
 * retry with the same key.
 */
export class PaymentGatewayUnavailableError extends Error {
  override readonly name = 'PaymentGatewayUnavailableError';
  readonly code = 'PAYMENT_GATEWAY_UNAVAILABLE';
  readonly retryable = true;
}

/**
 * The gateway is still carrying out another call with the same key. The outcome is unknown, as with an
 * unavailable gateway, but the gateway is not away: other payments succeed.
 */
export class PaymentInProgressError extends Error {
  override readonly name = 'PaymentInProgressError';
  readonly code = 'PAYMENT_IN_PROGRESS';
  readonly retryable = true;
}

/**
 * The gateway's response is invalid, or it rejects a request that we built. As with an unavailable
 * gateway, the outcome is unknown: look it up or void it.
 */
export class PaymentGatewayProtocolError extends Error {
  override readonly name = 'PaymentGatewayProtocolError';
  readonly code = 'PAYMENT_GATEWAY_PROTOCOL';

  constructor(
    message: string,
    /**
     * Whether a retry may succeed (a garbled response); false when an operator has to look (a rejected
     * request, a charge of another amount).
     */
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Options of the HTTP adapter. */
export interface HttpPaymentGatewayOptions {
  /** Base address, `http:` or `https:`; a path in it is kept. */
  url: string;
  /** Timeout of a whole call in ms, the response body included. */
  requestTimeoutMs: number;
}

/**
 * A `PaymentGateway` over HTTP and JSON. Nothing to close.
 *
 * @throws TypeError when `url` is not an absolute `http:` or `https:` address.
 */
export function createHttpPaymentGateway(options: HttpPaymentGatewayOptions): PaymentGateway {
  const send = createSender(options);
  return {
    async charge({ idempotencyKey, amount, token, reference }) {
      const body = { amount, token, reference };
      const answer = await send({ method: 'POST', path: 'v1/charges', idempotencyKey, body });
      if (answer.status === 402) throw declined(answer);
      const charge = understand(answer, 201, chargeSchema);
      return confirmEcho(charge, { idempotencyKey, amount, reference });
    },

    async findCharge({ idempotencyKey }) {
      const path = `v1/charges?${new URLSearchParams({ idempotencyKey })}`;
      const answer = await send({ method: 'GET', path });
      const { charges } = understand(answer, 200, chargeListSchema);
      return onlyCharge(charges, idempotencyKey);
    },

    async voidCharge({ idempotencyKey }) {
      const body = { idempotencyKey };
      const answer = await send({ method: 'POST', path: 'v1/charges/void', body });
      const voided = understand(answer, 200, voidedSchema);
      confirmEcho(voided, { idempotencyKey });
      return confirmEmptied(onlyCharge(voided.charges, idempotencyKey));
    },
  };
}

/**
 * Responses are validated for what we rely on, without coercion. Other fields are ignored: a gateway
 * that adds fields must not stop the shop.
 */
const amountSchema = z.int().nonnegative();

const chargeSchema = z
  .object({
    chargeId: z.string().min(1),
    idempotencyKey: z.string(),
    reference: z.string(),
    amount: amountSchema,
    status: z.literal('captured'),
  })
  .transform(({ status: _status, ...charge }): Charge => charge);

const foundChargeSchema = z
  .object({
    chargeId: z.string().min(1),
    idempotencyKey: z.string(),
    reference: z.string(),
    amount: amountSchema,
    refundedAmount: amountSchema,
    status: z.literal('captured'),
  })
  .refine(({ amount, refundedAmount }) => refundedAmount <= amount, {
    path: ['refundedAmount'],
    message: 'is more than the charge',
  })
  .transform(({ status: _status, ...charge }): FoundCharge => charge);

const chargeListSchema = z.object({ charges: z.array(foundChargeSchema) });

const voidedSchema = z.object({
  idempotencyKey: z.string(),
  status: z.literal('voided'),
  charges: z.array(foundChargeSchema),
});

const errorSchema = z.object({ code: z.string().min(1), message: z.string() });

/** Longest valid response; a longer one is not read to its end. */
const maximumAnswerBytes = 1024 * 1024;

/** As an HTTP header can carry it. */
const validIdempotencyKey = /^[\x21-\x7e]{1,255}$/;

interface OutgoingCall {
  method: 'GET' | 'POST';
  /** Relative to the gateway's base address. */
  path: string;
  idempotencyKey?: string;
  body?: object;
}

interface Answer {
  /** The call, for error messages; without secrets. */
  call: string;
  status: number;
  text: string;
}

type Sender = (call: OutgoingCall) => Promise<Answer>;

/** Sends calls, and returns only conclusive responses: 409, 5xx and timeouts throw. */
function createSender({ url, requestTimeoutMs }: HttpPaymentGatewayOptions): Sender {
  const base = baseAddress(url);
  return async ({ method, path, idempotencyKey, body }) => {
    const call = `${method} /${path.replace(/\?.*/, '')}`;
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const init: RequestInit = {
      method,
      headers: headersOf(idempotencyKey, body),
      // Never follow redirects with a payment.
      redirect: 'manual',
      signal,
    };
    if (body !== undefined) init.body = JSON.stringify(body);

    let answer: Answer;
    try {
      const response = await fetch(new URL(path, base), init);
      answer = { call, status: response.status, text: await readText(response, call) };
    } catch (cause) {
      if (cause instanceof PaymentGatewayProtocolError) throw cause;
      const late = signal.aborted;
      throw unavailable(call, late ? `nothing in ${requestTimeoutMs} ms` : explain(cause), cause);
    }
    if (answer.status === 409) throw inProgress(call);
    if (isTemporary(answer.status)) throw unavailable(call, `status ${answer.status}`);
    return answer;
  };
}

function baseAddress(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base?.protocol !== 'http:' && base?.protocol !== 'https:') {
    throw new TypeError(
      `the payment gateway's address must begin with http:// or https://, not be '${url}'`,
    );
  }
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return base;
}

function headersOf(
  idempotencyKey: string | undefined,
  body: object | undefined,
): Record<string, string> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (idempotencyKey === undefined) return headers;
  if (!validIdempotencyKey.test(idempotencyKey)) {
    throw new PaymentGatewayProtocolError(
      'nothing was sent to the payment gateway: an idempotency key must be 1 to 255 printable ASCII characters without spaces',
      false,
    );
  }
  return { ...headers, 'idempotency-key': idempotencyKey };
}

async function readText(response: Response, call: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const body: AsyncIterable<Uint8Array> | Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    length += chunk.byteLength;
    if (length > maximumAnswerBytes) {
      throw new PaymentGatewayProtocolError(
        `the payment gateway answered ${call} with more than ${maximumAnswerBytes} bytes; look the payment up before retrying`,
        true,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Statuses about the gateway's own state, not our request. */
function isTemporary(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}

/** The response body, validated for status and shape. */
function understand<Content>(
  answer: Answer,
  expectedStatus: number,
  schema: z.ZodType<Content>,
): Content {
  if (answer.status !== expectedStatus) throw unexpectedStatus(answer);
  const result = parseJson(schema, answer.text);
  if (result.success) return result.data;
  throw new PaymentGatewayProtocolError(
    `the payment gateway answered ${answer.call} with an invalid body (${result.problem}); look the payment up before retrying`,
    true,
    { cause: result.cause },
  );
}

type Parsed<Content> =
  { success: true; data: Content } | { success: false; problem: string; cause: unknown };

function parseJson<Content>(schema: z.ZodType<Content>, text: string): Parsed<Content> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    return { success: false, problem: 'not JSON', cause };
  }
  const result = schema.safeParse(json);
  if (result.success) return { success: true, data: result.data };
  const problem = result.error.issues
    .map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
    .join('; ');
  return { success: false, problem, cause: result.error };
}

/** A status below 400 is the gateway's fault and may be transient; from 400 up it is ours. */
function unexpectedStatus(answer: Answer): PaymentGatewayProtocolError {
  const error = parseJson(errorSchema, answer.text);
  const said = error.success ? ` (${error.data.code}: ${error.data.message})` : '';
  const advice =
    answer.status < 300
      ? 'look the payment up before retrying'
      : 'not retryable: check PAYMENT_GATEWAY_URL and the request';
  return new PaymentGatewayProtocolError(
    `the payment gateway answered ${answer.call} with status ${answer.status}${said}; ${advice}`,
    answer.status < 300,
  );
}

function declined(answer: Answer): PaymentDeclinedError {
  const decline = understand(answer, 402, errorSchema);
  return new PaymentDeclinedError(
    decline.code,
    `the payment was declined (${decline.code}): ${decline.message}`,
  );
}

function unavailable(call: string, problem: string, cause?: unknown) {
  return new PaymentGatewayUnavailableError(
    `the payment gateway is unavailable for ${call} (${problem}); the outcome is unknown: look the payment up, then retry with the same key`,
    cause === undefined ? undefined : { cause },
  );
}

function inProgress(call: string): PaymentInProgressError {
  return new PaymentInProgressError(
    `the payment gateway is still carrying out an earlier call for ${call} (status 409); the outcome is unknown: look the payment up, then retry with the same key`,
  );
}

/** fetch only says 'fetch failed'; the connection error is its cause. */
function explain(error: unknown): string {
  if (!types.isNativeError(error)) return String(error);
  if (error.cause !== undefined) return explain(error.cause);
  // A host with several addresses fails with one AggregateError, which has no message.
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

/** The response must be about the requested payment; otherwise unrequested money has moved. */
function confirmEcho<Content extends object>(content: Content, asked: Partial<Content>): Content {
  for (const [field, value] of Object.entries(asked)) {
    const answered: unknown = Reflect.get(content, field);
    if (answered !== value) throw foreignAnswer(field, value, answered);
  }
  return content;
}

function onlyCharge(
  charges: readonly FoundCharge[],
  idempotencyKey: string,
): FoundCharge | undefined {
  for (const charge of charges) confirmEcho(charge, { idempotencyKey });
  if (charges.length <= 1) return charges[0];
  const chargeIds = charges.map(({ chargeId }) => chargeId).join(', ');
  throw new PaymentGatewayProtocolError(
    `the payment gateway charged key ${idempotencyKey} ${charges.length} times (${chargeIds}); refund all but one by hand`,
    false,
  );
}

function confirmEmptied(charge: FoundCharge | undefined): FoundCharge | undefined {
  if (charge !== undefined) confirmEcho(charge, { refundedAmount: charge.amount });
  return charge;
}

function foreignAnswer(field: string, asked: unknown, answered: unknown) {
  return new PaymentGatewayProtocolError(
    `the payment gateway answered for another payment: ${field} is ${JSON.stringify(answered)} instead of ${JSON.stringify(asked)}; compare both sides' books before retrying`,
    false,
  );
}
