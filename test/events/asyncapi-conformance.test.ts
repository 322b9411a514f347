/** That the tests would see a message which the description of the topics does not allow. */
import { checkMessage, NonconformingMessageError } from '../../testkit/asyncapi-conformance';
import { exampleEvent } from '../../testkit/example-events';

const event = exampleEvent('LikeChanged', { source: '/commerce-api' });
const headers = {
  'content-type': Buffer.from('application/cloudevents+json'),
  ce_id: Buffer.from('e5c1cd4a-6c8e-4be5-9b0a-4a9d0e9d3a11'),
  ce_type: Buffer.from('LikeChanged'),
};
const message = { key: 'product-1', value: JSON.stringify(event), headers };

test('a message of the pipeline is as described', () => {
  checkMessage('catalog-events', message);
});

test('what others have sent is not looked at', () => {
  checkMessage('catalog-events', { ...message, value: 'not JSON' });
  checkMessage('catalog-events', { ...message, value: JSON.stringify({ ...event, source: '/x' }) });
  checkMessage('another-topic', { ...message, value: '{"source":"/commerce-api"}' });
});

test.each([
  ['data', { ...message, value: JSON.stringify({ ...event, data: { productId: 'product-1' } }) }],
  ['an envelope', { ...message, value: JSON.stringify({ ...event, specversion: '0.3' }) }],
  ['a type', { ...message, value: JSON.stringify({ ...event, type: 'OrderPlaced' }) }],
  ['a header', { ...message, headers: { ...headers, 'content-type': Buffer.from('text/plain') } }],
  ['a key', { ...message, key: 'product 1' }],
])('%s that does not belong there is found', (_, wrong) => {
  expect(() => checkMessage('catalog-events', wrong)).toThrow(NonconformingMessageError);
});

test('a dead letter that does not say what it is is found', () => {
  expect(() => checkMessage('catalog-events.dlq', message)).toThrow(NonconformingMessageError);
});
