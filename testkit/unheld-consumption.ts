/** Consumption that no operator holds or bounds, for consumers without a database. */
import type { ConsumptionHolds } from '../bridge/consumption-holds';
import type { EventConsumerDependencies } from '../bridge/event-consumer';
import { createRateLimiter, createTopicRates } from '../bridge/rate-limiter';

const holds: ConsumptionHolds = {
  untilKnown: () => Promise.resolve(),
  current: () => [],
  isHeld: () => false,
  limit: () => undefined,
  onChange: () => undefined,
  stop: () => Promise.resolve(),
};

/** What a consumer needs to know of operators. */
export const unheldConsumption: Pick<
  EventConsumerDependencies,
  'holds' | 'rateLimiter' | 'topicRates'
> = {
  holds,
  rateLimiter: createRateLimiter(() => holds.limit(null)),
  topicRates: createTopicRates(holds.limit),
};
