/** Validates messages of the pipeline against its AsyncAPI document: headers, key and value. */
import Ajv, { type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { asyncApiDocument } from '../events/asyncapi';

/** A message in a topic. */
export interface DescribedMessage {
  readonly key: string;
  readonly value: string;
  /** By name; an array for a repeated name. */
  readonly headers: Readonly<Record<string, unknown>>;
}

/** A message that the document does not allow. */
export class NonconformingMessageError extends Error {
  override readonly name = 'NonconformingMessageError';
  readonly code = 'NONCONFORMING_MESSAGE';
}

/**
 * Validates a message. Messages of other producers on the event topics are ignored: they may be
 * anything.
 *
 * @throws NonconformingMessageError
 */
export function checkMessage(topic: string, message: DescribedMessage): void {
  const channel = channels.find(({ address }) => address === topic);
  if (channel === undefined) return;
  const json = 'DeadLetter' in channel.messages ? undefined : ownEvent(message.value);
  if (json === undefined && !('DeadLetter' in channel.messages)) return;
  const name = json === undefined ? 'DeadLetter' : json.type;
  const validate = validators.get(name);
  if (validate === undefined || !(name in channel.messages)) {
    throw new NonconformingMessageError(
      `${topic} carries a ${name}, which is not in the document.`,
    );
  }
  const headers = Object.fromEntries(
    Object.entries(message.headers).map(([header, value]) => [header, textOf(value)]),
  );
  if (validate({ headers, key: message.key, payload: json ?? message.value })) return;
  const faults = JSON.stringify(validate.errors);
  throw new NonconformingMessageError(
    `${topic}: ${faults} ${JSON.stringify({ ...message, headers })}`,
  );
}

interface Channel {
  readonly address: string;
  readonly messages: Readonly<Record<string, object>>;
}

interface Message {
  readonly headers: object;
  readonly payload: object;
  readonly bindings?: { readonly kafka: { readonly key: object } };
}

const { channels: channelsByName, components } = asyncApiDocument();
const channels = Object.values(channelsByName) as Channel[];

const ajv = addFormats(new Ajv({ strict: false, allErrors: true }));

const validators = new Map<string, ValidateFunction>(
  Object.entries(components.messages as unknown as Record<string, Message>).map(
    ([name, { headers, payload, bindings }]) => [
      name,
      ajv.compile({
        type: 'object',
        properties: { headers, payload, key: bindings?.kafka.key ?? true },
      }),
    ],
  ),
);

function ownEvent(value: string): { type: string } | undefined {
  try {
    const json = JSON.parse(value) as { source?: unknown; type: string } | null;
    return json?.source === '/commerce-api' ? json : undefined;
  } catch {
    return undefined;
  }
}

function textOf(value: unknown): unknown {
  return Buffer.isBuffer(value)
    ? value.toString()
    : Array.isArray(value)
      ? value.map(textOf)
      : value;
}
