import { createPaymentActivities } from '../../activities/commerce/payments';
import {
  PaymentGatewayUnavailableError,
  PaymentInProgressError,
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

describe('a charge that is in progress', () => {
  const inProgress = new PaymentInProgressError('still under way');
  const charge = { orderId: 'order-1', amount: 900, paymentToken: 'tok' };

  test('is looked up, and captured if it is found', async () => {
    const captured = { chargeId: 'ch_1', refundedAmount: 0 };
    const lookups = [undefined, captured];
    const gateway = {
      charge: () => Promise.reject(inProgress),
      findCharge: async () => lookups.shift(),
    } as unknown as PaymentGateway;
    const { chargeOrder } = createPaymentActivities({ gateway });
    expect(await chargeOrder(charge)).toEqual({ kind: 'captured', paymentId: 'ch_1' });
  });

  test('is left to a retry and counted as in progress if it is not', async () => {
    const gateway = {
      charge: () => Promise.reject(inProgress),
      findCharge: async () => undefined,
    } as unknown as PaymentGateway;
    const [before, impossible] = [await counted('in_progress'), await counted('impossible')];
    const { chargeOrder } = createPaymentActivities({ gateway });
    await expect(chargeOrder(charge)).rejects.toBe(inProgress);
    expect(await counted('in_progress')).toBe(before + 1);
    expect(await counted('impossible')).toBe(impossible);
  });
});

describe('looking for the charge of an order', () => {
  const finding = (charge: object | undefined) =>
    createPaymentActivities({
      gateway: { findCharge: async () => charge } as unknown as PaymentGateway,
    });

  test.each([
    ['a captured one', { chargeId: 'ch_1', refundedAmount: 0 }, 'ch_1'],
    ['one that was given back', { chargeId: 'ch_1', refundedAmount: 900 }, null],
    ['none', undefined, null],
  ])('%s: charges nothing', async (_case, charge, expected) => {
    const payment = finding(charge);
    expect(await payment.findCharge('order-1')).toBe(expected);
    // As a run of an earlier version looks.
    expect(await payment.chargeOrder({ orderId: 'order-1', amount: 900 })).toMatchObject({
      kind: expected === null ? 'declined' : 'captured',
    });
  });
});
