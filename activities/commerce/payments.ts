/**
 * Taking and giving back the money of orders. The gateway's idempotency key is derived from the
 * order, so no retry, reset or second run can charge anybody twice.
 */
import { ApplicationFailure } from '@temporalio/common';
import { workflowIds } from '../../events/workflow-ids';
import {
  PaymentDeclinedError,
  PaymentGatewayProtocolError,
  PaymentGatewayUnavailableError,
  type PaymentGateway,
} from './payment-gateway';
import { payments } from '../../platform/observability/telemetry';

/** The charge of an order. */
export interface OrderCharge {
  readonly orderId: string;
  /** In the smallest currency unit. */
  readonly amount: number;
  /** How to pay; without it, only a charge that was made before can be found. */
  readonly paymentToken?: string;
}

/** How a charge turned out. */
export type ChargeOutcome =
  | { readonly kind: 'captured'; readonly paymentId: string }
  | { readonly kind: 'declined'; readonly reason: string };

/** The `type` of failures of the gateway that no retry mends; whether money moved is unknown. */
const paymentImpossible = 'PAYMENT_IMPOSSIBLE';

/** The activities of payments. */
export function createPaymentActivities({ gateway }: { readonly gateway: PaymentGateway }) {
  return {
    /**
     * Charges an order once. A charge whose answer was lost is looked up, and only if there is none
     * charged again, under the same key. Whoever gives up must call `voidPayment`.
     *
     * @throws PaymentGatewayUnavailableError the outcome is unknown; a retry finds it out
     * @throws ApplicationFailure non-retryable, of type `PAYMENT_IMPOSSIBLE`
     */
    async chargeOrder(charge: OrderCharge): Promise<ChargeOutcome> {
      return counted(async () => {
        const found = await findCaptured(gateway, charge.orderId);
        if (found !== undefined) return { kind: 'captured', paymentId: found };
        if (charge.paymentToken === undefined) {
          return { kind: 'declined', reason: 'there is no charge and no way to make one' };
        }
        return chargeOrFind(gateway, charge, charge.paymentToken);
      });
    },

    /**
     * Makes sure that no money is held for an order, now and ever: what was captured is given back,
     * and a charge that is still on its way is declined when it arrives.
     *
     * @returns the gateway's ID of the charge whose money was given back; null when there was none
     * @throws PaymentGatewayUnavailableError a retry helps
     */
    async voidPayment(orderId: string): Promise<string | null> {
      const charge = await countingFailures(() =>
        gateway.voidCharge({ idempotencyKey: chargeKey(orderId) }),
      );
      const chargeId = charge?.chargeId ?? null;
      if (chargeId !== null) payments.inc({ outcome: 'refunded' });
      return chargeId;
    },
  };
}

/** The gateway's idempotency key for the charge of an order. */
function chargeKey(orderId: string): string {
  return `${workflowIds.placeOrder(orderId)}/charge`;
}

async function chargeOrFind(
  gateway: PaymentGateway,
  { orderId, amount }: OrderCharge,
  token: string,
): Promise<ChargeOutcome> {
  try {
    const request = { idempotencyKey: chargeKey(orderId), amount, token, reference: orderId };
    const { chargeId } = await gateway.charge(request);
    return { kind: 'captured', paymentId: chargeId };
  } catch (error) {
    if (error instanceof PaymentDeclinedError) return { kind: 'declined', reason: error.reason };
    if (!(error instanceof PaymentGatewayUnavailableError)) throw error;
    const found = await findCaptured(gateway, orderId);
    if (found === undefined) throw error;
    return { kind: 'captured', paymentId: found };
  }
}

async function findCaptured(gateway: PaymentGateway, orderId: string): Promise<string | undefined> {
  const charge = await gateway.findCharge({ idempotencyKey: chargeKey(orderId) });
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
    const isFinal = error instanceof ApplicationFailure;
    payments.inc({ outcome: isFinal ? 'impossible' : 'unavailable' });
    throw error;
  }
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
