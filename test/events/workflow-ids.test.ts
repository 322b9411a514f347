/** The IDs of workflows, which other people's programs look for, and what is read out of them. */
import { adjustStock } from '../../events/commands/adjust-stock';
import { changeLike } from '../../events/commands/change-like';
import { registerProduct } from '../../events/commands/register-product';
import { openBatchesQuery, readBatchOffsets, workflowIds } from '../../events/workflow-ids';

const place = { topic: 'catalog-events', partition: 3, offset: 42 } as const;

test.each([
  [workflowIds.placeOrder('7'), 'order-7'],
  [registerProduct.workflowId({ productId: 'mug' }), 'product-mug'],
  [adjustStock.workflowId({ adjustmentId: 'a' }), 'stock-adjustment-a'],
  [changeLike.workflowId({ requestId: 'r' }), 'like-r'],
  [workflowIds.publishEvents('e'), 'publish-e'],
  [workflowIds.handleEvent('e'), 'e'],
  [workflowIds.handleEventBatch('u'), 'batch-u'],
  [workflowIds.parkDeadLetter(place), 'dead-letter-catalog-events-3-42'],
  [workflowIds.redriveDeadLetter(5, 2), 'redrive-5-2'],
  [workflowIds.notify('sold-out', 'e'), 'notification-sold-out-e'],
  [workflowIds.discardDeadLetter(5), 'dead-letter-discard-5'],
  [
    workflowIds.recordVanishedOffsets({ ...place, from: 1, to: 9 }),
    'dead-letter-vanished-catalog-events-3-1-9',
  ],
])('%s is spelled %s', (built, spelled) => {
  expect(built).toBe(spelled);
});

test('the offsets of a batch are read from the ID that earlier versions gave it', () => {
  expect(readBatchOffsets('batch-catalog-events-3-40-45', place)).toEqual([40, 45]);
});

test.each([
  ['another partition', 'batch-catalog-events-30-40-45'],
  ['another topic', 'batch-order-events-3-40-45'],
  ['a batch of many partitions', workflowIds.handleEventBatch('4b7e7a9c-6f0e-5c55-8f57-1a')],
  ['an event', 'catalog-events-3-40-45'],
])('no offsets are read from the ID of %s', (_, workflowId) => {
  expect(readBatchOffsets(workflowId, place)).toBeUndefined();
});

test('open batches are listed by the beginning of their IDs', () => {
  expect(openBatchesQuery).toContain("STARTS_WITH 'batch-'");
});
