/** What the payment gateway has in its books, asked over HTTP as anybody could. */
import type { Config } from '../../platform/process/config';

/** What it knows of one charge; amounts are in the smallest unit of the currency. */
export interface GatewayCharge {
  /** The order that it is for. */
  readonly reference: string;
  readonly amount: number;
  readonly refundedAmount: number;
}

/** Every charge that was ever made. */
export async function readCharges(
  config: Pick<Config, 'PAYMENT_GATEWAY_URL'>,
): Promise<GatewayCharge[]> {
  const response = await fetch(`${config.PAYMENT_GATEWAY_URL}/v1/charges`);
  const { charges } = (await response.json()) as { charges: GatewayCharge[] };
  return charges;
}

/** The orders that the charges so far are for. */
export async function readReferences(
  config: Pick<Config, 'PAYMENT_GATEWAY_URL'>,
): Promise<Set<string>> {
  return new Set((await readCharges(config)).map(({ reference }) => reference));
}
