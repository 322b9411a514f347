/** Every projection. Written by `npm run generate` from the files in this folder. */
export { productMetrics } from './product-metrics';
export { productMetricsDaily } from './product-metrics-daily';
export { productUserMetrics } from './product-user-metrics';
