/**
 * The payment gateway: the port through which money moves, and its adapter for a gateway that
 * speaks HTTP.
 *
 * A call that moves money can end in three ways: it is known to have happened, it is known to be
 * refused, or it is unknown (time-out, cut connection, 5xx, an answer nobody can read). Unknown is
 * not 'no'. What was unknown is either asked again with the same idempotency key, or looked up with
 * `findCharge`; and whoever gives up on it calls `voidCharge`, since a request that was sent may
 * still be on its way when a lookup finds nothing.
 */
import { types } from 'node:util';
import { z } from 'zod';

/** What a charge asks for. */
interface ChargeRequest {
  /**
   * Names the charge. Every call with this key is the same charge and takes the money at most once,
   * so it is derived (from the order), never drawn. 1 to 255 printable ASCII characters, no spaces.
   */
  idempotencyKey: string;
  /** In the smallest currency unit; a whole number from 0 up. */
  amount: number;
  /** What the shopper pays with, as the gateway's own page issued it. Never logged. */
  token: string;
  /** The shop's own name for what is paid, such as an order ID; 1 to 255 characters. */
  reference: string;
}

/** Money that was taken. */
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

/** A charge that was looked up. */
interface FoundCharge extends Charge {
  /** How much of it was given back so far; in the smallest currency unit. */
  refundedAmount: number;
}

/**
 * The port. Every method throws `PaymentGatewayUnavailableError` when its outcome is unknown and
 * `PaymentGatewayProtocolError` when the two sides do not understand each other, and may be called
 * again with the same arguments without moving money twice.
 */
export interface PaymentGateway {
  /**
   * Takes the money once, however often it is called with one key, and resolves when it is taken.
   *
   * A `PaymentGatewayUnavailableError` means that the outcome is unknown: ask
   * `findCharge({ idempotencyKey })` before charging again, never charge with another key, and
   * call `voidCharge` before giving up.
   *
   * @throws PaymentDeclinedError the gateway refused, for good: nothing was and will be taken.
   */
  charge(request: ChargeRequest): Promise<Charge>;

  /**
   * The charge that was captured with a key, or `undefined` when none is. `undefined` says what is,
   * not what will be: a charge request that timed out may still be under way, so it allows charging
   * again with the same key, but not giving up without `voidCharge`. A voided charge is still
   * found, with all of its amount refunded.
   */
  findCharge(request: { idempotencyKey: string }): Promise<FoundCharge | undefined>;

  /**
   * Makes sure that a key holds no money, now and ever: what was captured with it is refunded, and
   * a charge with it that arrives later is declined. The safe end of a charge whose outcome is
   * unknown. Resolves with what the key had captured, `undefined` when that was nothing.
   */
  voidCharge(request: { idempotencyKey: string }): Promise<FoundCharge | undefined>;
}

/** The gateway refused the charge. Final: the same key is refused again, and no money was taken. */
export class PaymentDeclinedError extends Error {
  override readonly name = 'PaymentDeclinedError';
  readonly code = 'PAYMENT_DECLINED';
  readonly retryable = false;

  constructor(
    /** The gateway's code for why, such as `declined` or `invalid_token`. */
    readonly reason: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The gateway did not answer, or answered that it can't just now. The outcome is unknown: look it
 * up, then try again with the same key.
 */
export class PaymentGatewayUnavailableError extends Error {
  override readonly name = 'PaymentGatewayUnavailableError';
  readonly code = 'PAYMENT_GATEWAY_UNAVAILABLE';
  readonly retryable = true;
}

/**
 * The gateway's answer can't be understood, or it does not accept a request that we built. As with
 * an unavailable gateway, the outcome is unknown: what was sent must be looked up or voided.
 */
export class PaymentGatewayProtocolError extends Error {
  override readonly name = 'PaymentGatewayProtocolError';
  readonly code = 'PAYMENT_GATEWAY_PROTOCOL';

  constructor(
    message: string,
    /**
     * True when the same call may be understood next time (a garbled answer); false when a person
     * has to look (a request that was refused as wrong, a charge of another amount).
     */
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** How the HTTP adapter reaches its gateway. */
export interface HttpPaymentGatewayOptions {
  /** Base address, `http:` or `https:`; a path in it is kept. */
  url: string;
  /** Milliseconds for a whole call, the answer's body included. */
  requestTimeoutMs: number;
}

/**
 * A `PaymentGateway` that speaks HTTP with JSON. Holds nothing that has to be closed.
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
 * Each answer is checked for what we rely on, without any conversion. Other fields are dropped
 * rather than refused: a gateway that starts to send more must not stop the shop from selling.
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

/** No honest answer is longer; a longer one is not read to its end. */
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
  /** The call, for messages; without anything secret. */
  call: string;
  status: number;
  text: string;
}

type Sender = (call: OutgoingCall) => Promise<Answer>;

/** Sends calls, and lets through only answers that decide something: neither 5xx nor silence. */
function createSender({ url, requestTimeoutMs }: HttpPaymentGatewayOptions): Sender {
  const base = baseAddress(url);
  return async ({ method, path, idempotencyKey, body }) => {
    const call = `${method} /${path.replace(/\?.*/, '')}`;
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const init: RequestInit = {
      method,
      headers: headersOf(idempotencyKey, body),
      // A payment is never sent on to an address that an answer names.
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
        `the payment gateway answered ${call} with more than ${maximumAnswerBytes} bytes; look the payment up before trying again`,
        true,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Statuses that a gateway gives for its own state, not for our request. */
function isTemporary(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429;
}

/** The answer's content, when it has the expected status and shape. */
function understand<Content>(
  answer: Answer,
  expectedStatus: number,
  schema: z.ZodType<Content>,
): Content {
  if (answer.status !== expectedStatus) throw unexpectedStatus(answer);
  const result = parseJson(schema, answer.text);
  if (result.success) return result.data;
  throw new PaymentGatewayProtocolError(
    `the payment gateway answered ${answer.call} with a body that cannot be read (${result.problem}); look the payment up before trying again`,
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

/** A status below 400 is the gateway's mistake and may pass; from 400 up the request is ours. */
function unexpectedStatus(answer: Answer): PaymentGatewayProtocolError {
  const error = parseJson(errorSchema, answer.text);
  const said = error.success ? ` (${error.data.code}: ${error.data.message})` : '';
  const advice =
    answer.status < 300
      ? 'look the payment up before trying again'
      : 'trying again will not help: check PAYMENT_GATEWAY_URL and the request';
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
    `the payment gateway gave no answer to ${call} (${problem}); its outcome is unknown: look the payment up, then try again with the same key`,
    cause === undefined ? undefined : { cause },
  );
}

/** fetch itself says only 'fetch failed'; what happened to the connection is in its cause. */
function explain(error: unknown): string {
  if (!types.isNativeError(error)) return String(error);
  if (error.cause !== undefined) return explain(error.cause);
  // An address with several hosts fails with one error for all of them, which has no message.
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

/** The answer speaks of the payment that was asked for, or money moved that nobody asked for. */
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
    `the payment gateway answered for another payment: ${field} is ${JSON.stringify(answered)} instead of ${JSON.stringify(asked)}; compare both sides' books before trying again`,
    false,
  );
}
