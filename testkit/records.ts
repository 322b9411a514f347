/** Records as the bridge receives them, for tests that need no Kafka. */
import type { PartitionMessage } from '../bridge/workflow-plan';
import type { LogRecord, RecordHeader } from '../platform/kafka/record-batch';
import { messageOf, type ForeignEvent } from './foreign-producer';

/** Overrides of a record; headers in their order, null for one without a value. */
export interface RecordChange extends Partial<
  Omit<LogRecord, 'kind' | 'key' | 'value' | 'headers'>
> {
  readonly key?: Buffer | string | null;
  readonly value?: Buffer | string | null;
  readonly headers?: readonly (readonly [name: Buffer | string, value: Buffer | string | null])[];
}

/** A record; key, value and headers default to none. */
export function record({ key, value, headers = [], ...change }: RecordChange = {}): LogRecord {
  return {
    kind: 'record',
    offset: 0,
    timestamp: 0,
    ...change,
    key: toBytes(key),
    value: toBytes(value),
    headers: headers.map(toHeader),
  };
}

/** A record as a message of a partition. */
export function received(
  change: RecordChange,
  { topic = 'catalog-events', partition = 0 } = {},
): PartitionMessage & { readonly entry: LogRecord } {
  return { topic, partition, entry: record(change) };
}

/** The record of an event, as in the contract. */
export function carrying(event: ForeignEvent): RecordChange {
  const { key, value } = messageOf(event);
  return { key: String(key), value: String(value) };
}

function toHeader([name, value]: NonNullable<RecordChange['headers']>[number]): RecordHeader {
  return { name: Buffer.from(name), value: toBytes(value) };
}

function toBytes(part: Buffer | string | null | undefined): Buffer | null {
  return typeof part === 'string' ? Buffer.from(part) : (part ?? null);
}
