import fc from 'fast-check';
import { Partitioners } from 'kafkajs';
import { partitionOfKey } from '../../platform/kafka/partitioner';

const asKafkajs = Partitioners.DefaultPartitioner();

test('a key is in the partition that kafkajs chooses for it', () => {
  const keys = fc.oneof(
    fc.uuid(),
    fc.string({ unit: 'binary' }),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  );
  fc.assert(
    fc.property(keys, fc.integer({ min: 1, max: 100 }), (key, partitions) => {
      const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({
        partitionId,
        leader: 1,
        partitionErrorCode: 0,
        replicas: [],
        isr: [],
      }));
      const message = { key, value: null };
      expect(partitionOfKey(key, partitions)).toBe(
        asKafkajs({ topic: 'topic', partitionMetadata, message }),
      );
    }),
    { numRuns: 500 },
  );
});

// As librdkafka and the Java client do (https://github.com/apache/kafka/blob/3.9/clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java).
test.each([
  ['21', -973_932_308],
  ['foobar', -790_332_482],
  ['a-little-bit-long-string', -985_981_536],
  ['a-little-bit-longer-string', -1_486_304_829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
])('%s is in the partition of the Java client', (key, hash) => {
  expect(partitionOfKey(key, 997)).toBe((hash & 0x7fff_ffff) % 997);
});
