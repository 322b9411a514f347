/** Every suite, by the name under which it is run. */
import type { Suite } from './suite';
import { cachedRead } from './suites/cached-read';
import { besideOrders } from './suites/beside-orders';
import { catchUp } from './suites/catch-up';
import { endToEnd } from './suites/end-to-end';
import { growth } from './suites/growth';
import { hotProduct } from './suites/hot-product';
import { loadCurve } from './suites/load-curve';
import { order } from './suites/order';
import { overload } from './suites/overload';
import { peersSuite } from './suites/peers';
import { perEvent } from './suites/per-event';
import { roundTrips } from './suites/round-trips';
import { sandbox } from './suites/sandbox';
import { scaleOut } from './suites/scale-out';
import { viewOutage } from './suites/view-outage';

export const suites: readonly Suite[] = [
  loadCurve,
  perEvent,
  catchUp,
  peersSuite,
  order,
  hotProduct,
  overload,
  cachedRead,
  growth,
  endToEnd,
  viewOutage,
  scaleOut,
  roundTrips,
  besideOrders,
  sandbox,
];
