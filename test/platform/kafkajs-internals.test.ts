/**
 * What `platform/kafka/protocol.ts` and `platform/kafka/partition-log.ts` take for granted of kafkajs behind its
 * public interface. Another version of it has to pass this before anything else.
 */
import { Kafka, logLevel } from 'kafkajs';
import { version } from 'kafkajs/package.json';
import Encoder from 'kafkajs/src/protocol/encoder';
import fetchDefinition from 'kafkajs/src/protocol/requests/fetch';
import metadataDefinition from 'kafkajs/src/protocol/requests/metadata';
import produceDefinition from 'kafkajs/src/protocol/requests/produce';
import {
  asProducerHeaders,
  batchOf,
  fetchVersion,
  fetchWholeBatches,
  sendHeaderLists,
} from '../../platform/kafka/protocol';
import { readBatches, writeBatch } from '../../platform/kafka/record-batch';

test('it is of the version that the code was written for', () => {
  expect(version).toBe('2.2.4');
});

test('a client can be asked for a cluster', () => {
  const kafka = new Kafka({ brokers: ['127.0.0.1:1'], logLevel: logLevel.NOTHING });
  const names = Object.getOwnPropertySymbols(kafka).map(({ description }) => description);
  expect(names).toContain('private:Kafka:createCluster');
});

test('the versions of its requests are those that are replaced', () => {
  expect(fetchDefinition.versions).toContain(String(fetchVersion));
  expect(Math.max(...fetchDefinition.versions.map(Number))).toBe(fetchVersion);
  expect(Math.max(...produceDefinition.versions.map(Number))).toBe(7);
  expect(metadataDefinition.versions.length).toBeGreaterThan(0);
});

test('a header list is sent as it is', async () => {
  sendHeaderLists();
  const headers = [
    { name: Buffer.from('a'), value: Buffer.from('1') },
    { name: Buffer.from([0xff]), value: null },
    { name: Buffer.from('a'), value: Buffer.alloc(0) },
  ];
  const messages = [{ key: 'k', value: 'v', headers: asProducerHeaders(headers) }];
  const input = {
    acks: -1,
    timeout: 1_000,
    topicData: [{ topic: 't', partitions: [{ partition: 0, firstSequence: 0, messages }] }],
  };
  const { request } = produceDefinition.protocol({ version: 7 })(input as never);
  const { buffer } = (await request.encode()) as { buffer: Buffer };
  // No transaction (2), acks (2), timeout (4), one topic (4) named t (3), one partition (4 + 4), its length (4).
  const [batch] = readBatches(buffer.subarray(27));
  expect([...batch!.open().entries]).toMatchObject([
    { kind: 'record', key: Buffer.from('k'), value: Buffer.from('v'), headers },
  ]);
});

interface PartitionAnswer {
  readonly partition: number;
  readonly errorCode: number;
  readonly log: Buffer;
}

const int64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
};

function answerWith(partitions: readonly PartitionAnswer[]): Buffer {
  const encoded = partitions.map(({ partition, errorCode, log }) =>
    new Encoder()
      .writeInt32(partition)
      .writeInt16(errorCode)
      .writeBuffer(Buffer.concat([int64(9), int64(9), int64(0)]))
      .writeArray([])
      .writeInt32(-1)
      .writeInt32(log.length)
      .writeBuffer(log),
  );
  const topic = new Encoder().writeString('t').writeArray(encoded);
  const answer = new Encoder().writeInt32(0).writeInt16(0).writeInt32(0).writeArray([topic]);
  return (answer as unknown as { readonly buffer: Buffer }).buffer;
}

describe('an answer to a fetch', () => {
  const log = writeBatch([{ key: null, value: Buffer.from('v'), headers: [] }], 0, {
    producerId: -1n,
    producerEpoch: 0,
    firstSequence: 0,
  });
  const asked = [0, 1].map((partition) => ({ partition, fetchOffset: '5', maxBytes: 1 }));

  async function consumed(partitions: readonly PartitionAnswer[]) {
    fetchWholeBatches();
    const input = {
      maxWaitTime: 1,
      minBytes: 1,
      maxBytes: 1,
      topics: [{ topic: 't', partitions: asked }],
    };
    const { response } = fetchDefinition.protocol({ version: fetchVersion })(input as never);
    const decoded = await response.decode(answerWith(partitions));
    const { responses } = (await response.parse(decoded as never)) as {
      responses: { partitions: { partition: number; messages: never[] }[] }[];
    };
    return responses[0]!.partitions;
  }

  test('hands whole batches to the consumer', async () => {
    const [partition] = await consumed([{ partition: 0, errorCode: 0, log }]);
    expect(batchOf(partition!.messages[0]!)).toMatchObject({ firstOffset: 0, lastOffset: 0 });
  });

  test('continues with the others where one partition has an error', async () => {
    const partitions = await consumed([
      { partition: 0, errorCode: 6, log: Buffer.alloc(0) },
      { partition: 1, errorCode: 0, log },
    ]);
    expect(partitions.map(({ partition }) => partition)).toEqual([1]);
  });

  test('fails, and names the topic, where nothing else has come', async () => {
    await expect(
      consumed([{ partition: 0, errorCode: 6, log: Buffer.alloc(0) }]),
    ).rejects.toMatchObject({
      type: 'NOT_LEADER_FOR_PARTITION',
      topic: 't',
    });
  });

  test('says which offset the log does not have', async () => {
    const [partition] = await consumed([{ partition: 1, errorCode: 1, log: Buffer.alloc(0) }]);
    expect(batchOf(partition!.messages[0]!)).toEqual({ kind: 'out-of-range', offset: 5 });
  });
});
