/** Every activity of the shop's worker. A new group is added here, or no workflow can call it. */
import type { Pool } from 'pg';
import type { KafkaSender } from '../../platform/kafka/sender';
import { createShopAuditActivities } from './delivery-audit';
import { createLikeActivities } from './likes';
import { createOrderActivities } from './orders';
import type { PaymentGateway } from './payment-gateway';
import { createPaymentActivities } from './payments';
import { createProductActivities } from './products';
import { createPublishActivities } from './publish';
import { createStockActivities } from './stock';

/** Connections of the activities. */
export interface ShopDependencies {
  readonly pool: Pool;
  /** For publishing, which holds a connection while Kafka takes its time. */
  readonly relayPool: Pool;
  readonly sender: KafkaSender;
  readonly gateway: PaymentGateway;
}

export function createShopActivities({ pool, relayPool, sender, gateway }: ShopDependencies) {
  return {
    ...createProductActivities({ pool }),
    ...createStockActivities({ pool }),
    ...createOrderActivities({ pool }),
    ...createPaymentActivities({ gateway }),
    ...createLikeActivities({ pool }),
    ...createPublishActivities({ relayPool, sender }),
    ...createShopAuditActivities({ pool, sender }),
  };
}

/** The activities by name, as workflows call them. */
export type ShopActivities = ReturnType<typeof createShopActivities>;
