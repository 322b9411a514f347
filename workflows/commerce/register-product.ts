/** `registerProduct`: registers a product and publishes `ProductRegistered`. */
import { proxyActivities } from '@temporalio/workflow';
import type { createProductActivities } from '../../activities/commerce/products';
import type { createPublishActivities } from '../../activities/commerce/publish';
import type { ProductRegistration, RegisterProduct } from '../../events/commands';
import { localFirst, untilAcknowledged } from '../activity-policies';
import { decideThenPublish } from './decision';

const products = localFirst<ReturnType<typeof createProductActivities>>();
const publication = proxyActivities<ReturnType<typeof createPublishActivities>>(untilAcknowledged);

/** Registers the product once, and returns when its event is published. Idempotent. */
export async function registerProduct(command: RegisterProduct): Promise<ProductRegistration> {
  return decideThenPublish(
    () => products.createProduct(command),
    () => publication.publishOutbox([{ topic: 'catalog-events', key: command.productId }]),
  );
}
