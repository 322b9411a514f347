/** `adjustStock`: changes a product's stock and publishes `StockAdjusted`. */
import { proxyActivities } from '@temporalio/workflow';
import type { createPublishActivities } from '../../activities/commerce/publish';
import type { createStockActivities } from '../../activities/commerce/stock';
import type { AdjustStock, StockOutcome } from '../../events/commands';
import { localFirst, untilAcknowledged } from '../activity-policies';
import { decideThenPublish } from './decision';

const stock = localFirst<ReturnType<typeof createStockActivities>>();
const publication = proxyActivities<ReturnType<typeof createPublishActivities>>(untilAcknowledged);

/** Changes the stock once, or rejects the change; returns when the event of a change is published. */
export async function adjustStock(command: AdjustStock): Promise<StockOutcome> {
  return decideThenPublish(
    () => stock.changeStock(command),
    async (outcome) => {
      if (outcome.kind !== 'adjusted') return;
      await publication.publishOutbox([{ topic: 'catalog-events', key: command.productId }]);
    },
  );
}
