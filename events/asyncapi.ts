/**
 * The AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0) of all
 * messages on Kafka, generated from the schemas that validate them.
 */
import { createEvent, toMessage, type Event } from './envelope';
import { aggregateIdSchema, eventIdSchema } from './identifiers';
import {
  eventJsonSchema,
  schemaPath,
  schemaVersions,
  toJsonSchema,
  type SchemaVersion,
} from './json-schemas';
import { redrivenFromHeader } from './redrive';
import { definitionOf, type EventData, type EventType } from './schemas';
import { deadLetterTopicOf, eventTopics, maxEventBytes, partitionsPerTopic } from './topics';
import type { EventTopic } from './topics';
import { reservedEventIdPrefixes } from './reserved-event-ids';

/** The whole document. */
export function asyncApiDocument() {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Commerce events',
      version: '1.0.0',
      description,
      tags: [{ name: 'catalog' }, { name: 'orders' }, { name: 'dead letters' }],
    },
    defaultContentType: contentType,
    // Only the local cluster's address: the document is public, and others' addresses are their
    // operator's to give.
    servers: {
      local: {
        host: '127.0.0.1:19092',
        protocol: 'kafka',
        description: 'The local cluster, and Docker Compose.',
      },
    },
    channels: Object.fromEntries(eventTopics.flatMap(channelsOf)),
    operations: Object.fromEntries(eventTopics.flatMap(operationsOf)),
    components: {
      messages: {
        ...Object.fromEntries(
          schemaVersions.map((place) => [messageName(place), eventMessage(place)]),
        ),
        DeadLetter: deadLetter,
      },
    },
  };
}

/** The name of a message in the document. */
function messageName({ type, version }: SchemaVersion): string {
  return version === 1 ? type : `${type}V${version}`;
}

const contentType = 'application/cloudevents+json';

const reservedPrefixes = reservedEventIdPrefixes.map((prefix) => `\`${prefix}\``).join(', ');

const description = `
Each message carries one CloudEvents 1.0 event as structured JSON, of at most ${maxEventBytes} bytes.
Its key is the ID of its aggregate, so that the events of one aggregate stay in order.

Anybody may publish valid events to these topics. An event is applied once by its \`id\`, however
often and in whatever order it comes. An invalid message is parked, and a copy of it goes to the dead-letter topic. \`dataschema\` names the JSON Schema that \`data\` adheres to;
the API serves it under that path. Readers ignore fields that they do not know.

An \`id\` must not begin with the name of another kind of workflow: ${reservedPrefixes}.`.trim();

const channelNames: Readonly<Record<EventTopic, string>> = {
  'catalog-events': 'catalogEvents',
  'order-events': 'orderEvents',
};

const topicSummaries: Readonly<Record<EventTopic, string>> = {
  'catalog-events': 'Events of products: registration, stock, likes and views.',
  'order-events': 'Events of orders, from placement to confirmation or cancellation.',
};

function channelsOf(topic: EventTopic): [string, object][] {
  const name = channelNames[topic];
  const messages = messagesOn(topic);
  return [
    [
      name,
      {
        address: topic,
        description: topicSummaries[topic],
        messages: Object.fromEntries(messages.map((message) => [message, messageRef(message)])),
        bindings: { kafka: { ...kafkaBinding, topic, partitions: partitionsPerTopic } },
      },
    ],
    [
      `${name}DeadLetters`,
      {
        address: deadLetterTopicOf(topic),
        description: `Copies of the messages on ${topic} that could not be handled.`,
        messages: { DeadLetter: messageRef('DeadLetter') },
        bindings: {
          kafka: {
            ...kafkaBinding,
            topic: deadLetterTopicOf(topic),
            partitions: partitionsPerTopic,
          },
        },
      },
    ],
  ];
}

function operationsOf(topic: EventTopic): [string, object][] {
  const name = channelNames[topic];
  const suffix = name.charAt(0).toUpperCase() + name.slice(1);
  const messages = messagesOn(topic).map((message) => channelMessageRef(name, message));
  const dead = `${name}DeadLetters`;
  return [
    [
      `publish${suffix}`,
      {
        action: 'send',
        channel: { $ref: `#/channels/${name}` },
        summary: 'The API and the commerce workers publish; so may others.',
        messages,
      },
    ],
    [
      `handle${suffix}`,
      {
        action: 'receive',
        channel: { $ref: `#/channels/${name}` },
        summary: 'The bridge starts a workflow for each event.',
        messages,
      },
    ],
    [
      `publish${suffix}DeadLetters`,
      {
        action: 'send',
        channel: { $ref: `#/channels/${dead}` },
        summary: 'The collector copies each message that it parks, for other tools.',
        messages: [channelMessageRef(dead, 'DeadLetter')],
      },
    ],
  ];
}

function messagesOn(topic: EventTopic): string[] {
  return schemaVersions.filter(({ type }) => definitionOf(type).topic === topic).map(messageName);
}

const messageRef = (name: string) => ({ $ref: `#/components/messages/${name}` });

const channelMessageRef = (channel: string, name: string) => ({
  $ref: `#/channels/${channel}/messages/${name}`,
});

const kafkaBinding = { bindingVersion: '0.5.0' };

const text = { type: 'string' } as const;

const digits = { type: 'string', pattern: '^\\d+$' } as const;

const traceparent = {
  ...text,
  description: 'W3C Trace Context, where the message belongs to a trace',
} as const;

function eventMessage(place: SchemaVersion) {
  const { type } = place;
  const { value, headers } = toMessage(exampleEvent(type));
  const { aggregate, topic, summary } = definitionOf(type);
  return {
    name: type,
    title: type,
    summary,
    contentType,
    tags: [{ name: topic === 'order-events' ? 'orders' : 'catalog' }],
    description: `The API serves the JSON Schema of its data under ${schemaPath(place)}.`,
    headers: headersSchema,
    payload: eventJsonSchema(place),
    correlationId: {
      location: '$message.payload#/id',
      description: 'Also the ID of its workflow.',
    },
    bindings: {
      kafka: {
        ...kafkaBinding,
        key: { ...toJsonSchema(aggregateIdSchema), description: aggregate },
      },
    },
    examples: [{ name: 'example', headers, payload: JSON.parse(value) as object }],
  };
}

const headersSchema = {
  type: 'object',
  description: 'Copies for tools: all optional; the value is authoritative.',
  properties: {
    'content-type': { type: 'string', const: contentType },
    ce_id: toJsonSchema(eventIdSchema),
    ce_type: text,
    traceparent,
    [redrivenFromHeader]: { ...digits, description: 'the dead letter that it was redriven from' },
  },
};

const deadLetter = {
  name: 'DeadLetter',
  title: 'Dead letter',
  summary: 'The original message, byte for byte: its key, value and headers, besides those below.',
  contentType: 'application/octet-stream',
  tags: [{ name: 'dead letters' }],
  headers: {
    type: 'object',
    required: [
      'dead_letter_id',
      'dead_letter_topic',
      'dead_letter_partition',
      'dead_letter_offset',
      'dead_letter_reason',
      'dead_letter_detail',
    ],
    properties: {
      dead_letter_id: { ...digits, description: 'ID for redriving or discarding it' },
      dead_letter_topic: { type: 'string', description: 'its original position' },
      dead_letter_partition: digits,
      dead_letter_offset: digits,
      dead_letter_reason: { type: 'string', description: 'a stable code, such as NOT_JSON' },
      dead_letter_detail: { type: 'string', description: 'what is wrong, for a person' },
    },
  },
  payload: { description: 'Any bytes, or none.' },
  examples: [
    {
      name: 'notJson',
      headers: {
        dead_letter_id: '1',
        dead_letter_topic: 'catalog-events',
        dead_letter_partition: '0',
        dead_letter_offset: '17',
        dead_letter_reason: 'NOT_JSON',
        dead_letter_detail: 'The value is not JSON.',
      },
      payload: 'this is not JSON',
    },
  ],
};

function exampleEvent(type: EventType): Event {
  return createEvent({
    id: 'e5c1cd4a-6c8e-4be5-9b0a-4a9d0e9d3a11',
    type,
    time: new Date('2026-01-01T00:00:00.000Z'),
    data: definitionOf(type).example as EventData<EventType>,
  }) as Event;
}
