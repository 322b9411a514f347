import { createPaymentActivities } from '../../activities/commerce/payments';
import {
  PaymentGatewayUnavailableError,
  type PaymentGateway,
} from '../../activities/commerce/payment-gateway';
import { payments } from '../../platform/observability/telemetry';

async function counted(outcome: string): Promise<number> {
  const { values } = await payments.get();
  return values.find(({ labels }) => labels['outcome'] === outcome)?.value ?? 0;
}

test('an attempt to void a payment while the gateway is unavailable is counted as such, and fails', async () => {
  const unavailable = new PaymentGatewayUnavailableError('away');
  const gateway = { voidCharge: () => Promise.reject(unavailable) } as unknown as PaymentGateway;
  const before = await counted('unavailable');
  const { voidPayment } = createPaymentActivities({ gateway });
  await expect(voidPayment('order-1')).rejects.toBe(unavailable);
  expect(await counted('unavailable')).toBe(before + 1);
});
