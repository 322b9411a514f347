import fc from 'fast-check';
import { v5 as uuidV5 } from 'uuid';
import { deriveBatchUuid } from '../../bridge/batch-uuid';

test('the name of a batch is the UUIDv5 of its messages, as every version of the bridge makes it', () => {
  const message = fc.record({
    eventId: fc.string(),
    topic: fc.constantFrom('order-events', 'catalog-events'),
    partition: fc.nat(11),
    offset: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(message), (events) => {
      const messages = events.map(({ eventId, topic, partition, offset }) => [
        eventId,
        topic,
        partition,
        offset,
      ]);
      const namespace = '0a4e6f5e-3c0b-4f53-8f0e-0d6b7a0c9f2d';
      expect(deriveBatchUuid(events)).toBe(uuidV5(JSON.stringify(messages), namespace));
    }),
  );
});
