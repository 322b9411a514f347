/**
 * Charges and refunds of orders. The gateway's idempotency key is derived from the order, so no retry,
 * reset or second run can charge twice.
 */
import { ApplicationFailure } from '@temporalio/common';
import { orderChargeKey } from '../../events/orders';
import {
  PaymentDeclinedError,
  PaymentGatewayProtocolError,
  PaymentGatewayUnavailableError,
  PaymentInProgressError,
  type PaymentGateway,
} from './payment-gateway';
import { payments } from '../../platform/observability/telemetry';

export interface OrderCharge {
  readonly orderId: string;
  /** In the smallest currency unit. */
  readonly amount: number;
  readonly paymentToken: string;
}

/**
 * How runs of an earlier version look a charge up, and those whose worker knows no `findCharge`: with a
 * charge that has no token.
 */
export interface EarlierLookup extends Omit<OrderCharge, 'paymentToken'> {
  readonly paymentToken?: undefined;
}

export type ChargeOutcome =
  | { readonly kind: 'captured'; readonly paymentId: string }
  | { readonly kind: 'declined'; readonly reason: string };

/** The `type` of permanent gateway failures; whether money moved is unknown. */
const paymentImpossible = 'PAYMENT_IMPOSSIBLE';

export function createPaymentActivities({ gateway }: { readonly gateway: PaymentGateway }) {
  return {
    /**
     * Charges an order once. A charge whose response was lost is looked up first, and only if there is
     * none charged again with the same key. To abandon it, call `voidPayment`.
     *
     * @throws PaymentGatewayUnavailableError, PaymentInProgressError the outcome is unknown; a retry
     *   resolves it
     * @throws ApplicationFailure non-retryable, of type `PAYMENT_IMPOSSIBLE`
     */
    async chargeOrder(charge: OrderCharge | EarlierLookup): Promise<ChargeOutcome> {
      return counted(async () => {
        const found = await findCaptured(gateway, charge.orderId);
        if (found !== undefined) return { kind: 'captured', paymentId: found };
        if (charge.paymentToken === undefined) {
          return { kind: 'declined', reason: 'there is no charge and no way to make one' };
        }
        return chargeOrFind(gateway, charge);
      });
    },

    /**
     * Looks for the charge of an order, and makes none.
     *
     * @returns the gateway's ID of the captured charge; null when there is none so far, which is final
     *   only after `voidPayment`
     * @throws PaymentGatewayUnavailableError, PaymentInProgressError retryable
     * @throws ApplicationFailure non-retryable, of type `PAYMENT_IMPOSSIBLE`
     */
    async findCharge(orderId: string): Promise<string | null> {
      const chargeId = await countingFailures(() =>
        endingRetriesOfTheImpossible(() => findCaptured(gateway, orderId)),
      );
      if (chargeId !== undefined) payments.inc({ outcome: 'captured' });
      return chargeId ?? null;
    },

    /**
     * Voids the payment of an order for good: what was captured is refunded, and a charge still in
     * flight is declined when it arrives.
     *
     * @returns the gateway's ID of the refunded charge; null when there was none
     * @throws PaymentGatewayUnavailableError, PaymentInProgressError retryable
     */
    async voidPayment(orderId: string): Promise<string | null> {
      const charge = await countingFailures(() =>
        gateway.voidCharge({ idempotencyKey: orderChargeKey(orderId) }),
      );
      const chargeId = charge?.chargeId ?? null;
      if (chargeId !== null) payments.inc({ outcome: 'refunded' });
      return chargeId;
    },
  };
}

async function chargeOrFind(
  gateway: PaymentGateway,
  { orderId, amount, paymentToken: token }: OrderCharge,
): Promise<ChargeOutcome> {
  try {
    const request = { idempotencyKey: orderChargeKey(orderId), amount, token, reference: orderId };
    const { chargeId } = await gateway.charge(request);
    return { kind: 'captured', paymentId: chargeId };
  } catch (error) {
    if (error instanceof PaymentDeclinedError) return { kind: 'declined', reason: error.reason };
    if (!isUnknown(error)) throw error;
    const found = await findCaptured(gateway, orderId);
    if (found === undefined) throw error;
    return { kind: 'captured', paymentId: found };
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof PaymentGatewayUnavailableError || error instanceof PaymentInProgressError;
}

async function findCaptured(gateway: PaymentGateway, orderId: string): Promise<string | undefined> {
  const charge = await gateway.findCharge({ idempotencyKey: orderChargeKey(orderId) });
  return charge?.refundedAmount === 0 ? charge.chargeId : undefined;
}

async function counted(charge: () => Promise<ChargeOutcome>): Promise<ChargeOutcome> {
  const outcome = await countingFailures(() => endingRetriesOfTheImpossible(charge));
  payments.inc({ outcome: outcome.kind });
  return outcome;
}

async function countingFailures<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    payments.inc({ outcome: failureOf(error) });
    throw error;
  }
}

function failureOf(error: unknown): 'impossible' | 'in_progress' | 'unavailable' {
  if (error instanceof ApplicationFailure) return 'impossible';
  return error instanceof PaymentInProgressError ? 'in_progress' : 'unavailable';
}

async function endingRetriesOfTheImpossible<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PaymentGatewayProtocolError) || error.retryable) throw error;
    throw ApplicationFailure.create({
      type: paymentImpossible,
      message: error.message,
      nonRetryable: true,
      cause: error,
    });
  }
}
