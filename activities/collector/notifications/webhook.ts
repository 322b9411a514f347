/**
 * A webhook over HTTP, with the headers of Standard Webhooks
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), and what
 * an answer means.
 */
import { createHmac } from 'node:crypto';
import { types } from 'node:util';
import { withLinkedSignal } from '../../../platform/process/abort';

/** A message to a receiver. */
export interface WebhookMessage {
  readonly url: string;
  /** The same for each attempt: the receiver's idempotency key. */
  readonly id: string;
  /** JSON text. */
  readonly body: string;
}

export interface WebhookOptions {
  /** Key of the signatures; without it there are none. */
  readonly secret: Buffer | undefined;
  /** How long an attempt may take, in ms. */
  readonly timeoutMs: number;
  /** Ends an attempt early. */
  readonly signal: AbortSignal;
}

/** What an attempt has come to. */
export type WebhookOutcome =
  | { readonly kind: 'delivered' }
  /** It may succeed later: the receiver is away, overloaded or broken. */
  | { readonly kind: 'unavailable'; readonly detail: string; readonly retryAfterMs?: number }
  /** The receiver understands it and will never take it. */
  | { readonly kind: 'refused'; readonly detail: string };

/** Makes one attempt. Never throws for what the receiver or the network does. */
export async function sendWebhook(
  { url, id, body }: WebhookMessage,
  { secret, timeoutMs, signal }: WebhookOptions,
): Promise<WebhookOutcome> {
  return withLinkedSignal(signal, async (linked) => {
    const late = new Error(`no answer in ${timeoutMs} ms`);
    const timer = setTimeout(() => linked.abort(late), timeoutMs);
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: headersOf(id, body, secret, new Date()),
        body,
        // A redirect would let the receiver choose whom this process calls.
        redirect: 'manual',
        signal: linked.signal,
      });
      return judge(response.status, response.headers, await readStart(response));
    } catch (error) {
      return { kind: 'unavailable', detail: `The receiver is unavailable: ${explain(error)}.` };
    } finally {
      clearTimeout(timer);
    }
  });
}

/** The idempotency key of a message: printable in a header, and without the `.` that a signature divides by. */
export function webhookId(name: string, eventId: string): string {
  return `${name}-${encodeURIComponent(eventId).replaceAll('.', '%2E')}`;
}

/** The headers of a message. */
export function headersOf(
  id: string,
  body: string,
  secret: Buffer | undefined,
  now: Date,
): Record<string, string> {
  const timestamp = String(Math.floor(now.getTime() / 1_000));
  return {
    'content-type': 'application/json',
    'idempotency-key': id,
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    ...(secret === undefined
      ? {}
      : { 'webhook-signature': sign(secret, `${id}.${timestamp}.${body}`) }),
  };
}

function sign(secret: Buffer, content: string): string {
  return `v1,${createHmac('sha256', secret).update(content).digest('base64')}`;
}

/** What the receiver means by a status. */
export function judge(status: number, headers: Headers, text: string): WebhookOutcome {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  const detail = `The receiver answered ${status}${text === '' ? '' : `: ${text}`}`;
  if (status < 500 && !temporary.includes(status)) return { kind: 'refused', detail };
  const retryAfterMs = readRetryAfter(headers.get('retry-after'));
  return { kind: 'unavailable', detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** Request Timeout, Too Early, Too Many Requests. */
const temporary: readonly number[] = [408, 425, 429];

/** Longest wait that a receiver may ask for, in ms: it must not silence its notifications for good. */
const longestRetryAfterMs = 10 * 60_000;

// As seconds; as a date, which RFC 9110 allows too, it is left to our own backoff.
function readRetryAfter(text: string | null): number | undefined {
  if (text === null || !/^\d{1,9}$/.test(text)) return undefined;
  return Math.min(Number(text) * 1_000, longestRetryAfterMs);
}

/** How much of an answer is kept to explain a refusal, in bytes. */
const keptBytes = 500;

/** The start of an answer; the rest is not read. */
async function readStart(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const body: AsyncIterable<Uint8Array> | Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.byteLength;
    if (length >= keptBytes) break;
  }
  const text = Buffer.concat(chunks).subarray(0, keptBytes).toString('utf8');
  // PostgreSQL stores no NUL in text.
  return text.replaceAll('\0', '\u2400');
}

/** fetch only says 'fetch failed'; the connection error is its cause. */
function explain(error: unknown): string {
  if (!types.isNativeError(error)) return String(error);
  if (error.cause !== undefined) return explain(error.cause);
  // A host with several addresses fails with one AggregateError, which has no message.
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}
