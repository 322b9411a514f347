/**
 * The ledger: captured, declined, voided and refunded charges, and the decision for each
 * idempotency key. Every change is written to the journal first; opening the ledger replays it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { type Journal, JournalError } from './journal';

const chargeSchema = z.strictObject({
  chargeId: z.string(),
  idempotencyKey: z.string(),
  reference: z.string(),
  amount: z.int().nonnegative(),
  currency: z.string(),
  status: z.literal('captured'),
  createdAt: z.string(),
});

const refundSchema = z.strictObject({
  refundId: z.string(),
  chargeId: z.string(),
  amount: z.int().nonnegative(),
  status: z.literal('refunded'),
  createdAt: z.string(),
});

const declineSchema = z.strictObject({ code: z.string(), message: z.string() });

/** A captured charge, as first answered. `amount` is in the smallest unit of `currency`. */
export type Charge = z.infer<typeof chargeSchema>;

/** Money that was given back. `amount` is in the smallest unit of the charge's currency. */
export type Refund = z.infer<typeof refundSchema>;

/** Why a charge was declined: a stable code, and a sentence for people. */
export type Decline = z.infer<typeof declineSchema>;

/** The decision for the idempotency key of a charge. */
export type ChargeDecision =
  | { kind: 'captured'; charge: Charge; answerLost: boolean }
  | { kind: 'declined'; decline: Decline };

/** The request is valid but rejected; `code` says why, `statusCode` is its HTTP status. */
export class RefusedRequestError extends Error {
  override readonly name = 'RefusedRequestError';

  constructor(
    readonly code: 'idempotency_key_reused',
    readonly statusCode: 422,
    message: string,
  ) {
    super(message);
  }
}

const recordSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('attempted'),
    idempotencyKey: z.string(),
    fingerprint: z.string(),
  }),
  z.strictObject({
    type: z.literal('captured'),
    fingerprint: z.string(),
    answerLost: z.boolean(),
    charge: chargeSchema,
  }),
  z.strictObject({
    type: z.literal('declined'),
    idempotencyKey: z.string(),
    fingerprint: z.string(),
    decline: declineSchema,
  }),
  z.strictObject({
    type: z.literal('voided'),
    idempotencyKey: z.string(),
    refund: refundSchema.nullable(),
  }),
]);

type LedgerRecord = z.infer<typeof recordSchema>;

interface ChargeKey {
  fingerprint: string;
  attempts: number;
  decision: ChargeDecision | undefined;
}

const voidedDecision: ChargeDecision = {
  kind: 'declined',
  decline: { code: 'voided', message: 'This idempotency key was voided and cannot be charged.' },
};

/** Charges and refunds, in memory and in the journal. Every method is atomic: none awaits. */
export class Ledger {
  private readonly journal: Journal;
  private readonly chargeKeys = new Map<string, ChargeKey>();
  private readonly voidedKeys = new Set<string>();
  private readonly chargesById = new Map<string, Charge>();
  private readonly allRefunds: Refund[] = [];
  private readonly refundedAmounts = new Map<string, number>();

  /**
   * Replays the journal.
   *
   * @throws JournalError when it holds a record that is not a ledger's.
   */
  constructor(journal: Journal) {
    this.journal = journal;
    for (const [index, record] of journal.recorded.entries()) {
      this.apply(parseRecord(record, index + 1));
    }
  }

  /**
   * The decision for a charge's key; `undefined` while undecided. A voided key is declined,
   * whatever was decided before.
   *
   * @throws RefusedRequestError `idempotency_key_reused` when the key came with another request.
   */
  decisionFor(idempotencyKey: string, fingerprint: string): ChargeDecision | undefined {
    if (this.voidedKeys.has(idempotencyKey)) return voidedDecision;
    const known = this.chargeKeys.get(idempotencyKey);
    if (known === undefined) return undefined;
    refuseReuse(idempotencyKey, known.fingerprint, fingerprint);
    return known.decision;
  }

  /** Counts an undecided attempt of a key, and returns the number of attempts. */
  recordAttempt(idempotencyKey: string, fingerprint: string): number {
    this.commit({ type: 'attempted', idempotencyKey, fingerprint });
    return this.claim(idempotencyKey, fingerprint).attempts;
  }

  /** Takes the money, unless the key has been decided or voided before: then that decision stands. */
  capture(
    request: Pick<Charge, 'idempotencyKey' | 'reference' | 'amount' | 'currency'>,
    fingerprint: string,
    answerLost: boolean,
  ): ChargeDecision {
    const earlier = this.decisionFor(request.idempotencyKey, fingerprint);
    if (earlier !== undefined) return earlier;
    const charge: Charge = {
      chargeId: `ch_${randomUUID()}`,
      idempotencyKey: request.idempotencyKey,
      reference: request.reference,
      amount: request.amount,
      currency: request.currency,
      status: 'captured',
      createdAt: new Date().toISOString(),
    };
    this.commit({ type: 'captured', fingerprint, answerLost, charge });
    return { kind: 'captured', charge, answerLost };
  }

  /** Refuses the charge for good, unless the key has been decided or voided before. */
  decline(idempotencyKey: string, fingerprint: string, decline: Decline): ChargeDecision {
    const earlier = this.decisionFor(idempotencyKey, fingerprint);
    if (earlier !== undefined) return earlier;
    this.commit({ type: 'declined', idempotencyKey, fingerprint, decline });
    return { kind: 'declined', decline };
  }

  /**
   * Closes a charge's key for good: what was captured by it is refunded, and nothing will ever be
   * captured by it. Doing it again changes nothing.
   */
  void(idempotencyKey: string): void {
    if (this.voidedKeys.has(idempotencyKey)) return;
    const decision = this.chargeKeys.get(idempotencyKey)?.decision;
    const refund = decision?.kind === 'captured' ? newRefund(decision.charge) : null;
    this.commit({ type: 'voided', idempotencyKey, refund });
  }

  /** How much of a charge was given back so far, in the smallest unit of its currency. */
  refundedAmountOf(chargeId: string): number {
    return this.refundedAmounts.get(chargeId) ?? 0;
  }

  /** Every captured charge, oldest first. */
  get charges(): Charge[] {
    return [...this.chargesById.values()];
  }

  /** Every refund, oldest first. */
  get refunds(): readonly Refund[] {
    return this.allRefunds;
  }

  private commit(record: LedgerRecord): void {
    this.journal.append(record);
    this.apply(record);
  }

  private apply(record: LedgerRecord): void {
    switch (record.type) {
      case 'attempted':
        this.claim(record.idempotencyKey, record.fingerprint).attempts += 1;
        return;
      case 'captured': {
        const { charge, answerLost, fingerprint } = record;
        const decision: ChargeDecision = { kind: 'captured', charge, answerLost };
        this.claim(charge.idempotencyKey, fingerprint).decision = decision;
        this.chargesById.set(charge.chargeId, charge);
        return;
      }
      case 'declined': {
        const decision: ChargeDecision = { kind: 'declined', decline: record.decline };
        this.claim(record.idempotencyKey, record.fingerprint).decision = decision;
        return;
      }
      case 'voided':
        this.voidedKeys.add(record.idempotencyKey);
        if (record.refund !== null) this.addRefund(record.refund);
        return;
    }
  }

  private addRefund(refund: Refund): void {
    this.allRefunds.push(refund);
    this.refundedAmounts.set(
      refund.chargeId,
      this.refundedAmountOf(refund.chargeId) + refund.amount,
    );
  }

  private claim(idempotencyKey: string, fingerprint: string): ChargeKey {
    const known = this.chargeKeys.get(idempotencyKey);
    if (known !== undefined) return known;
    const claimed: ChargeKey = { fingerprint, attempts: 0, decision: undefined };
    this.chargeKeys.set(idempotencyKey, claimed);
    return claimed;
  }
}

/**
 * A short form of a request, equal for equal requests. A digest, so that payment tokens are never
 * written to the disk.
 */
export function fingerprintOf(parts: readonly (string | number)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function refuseReuse(idempotencyKey: string, first: string, now: string): void {
  if (first === now) return;
  throw new RefusedRequestError(
    'idempotency_key_reused',
    422,
    `Idempotency-Key ${idempotencyKey} was first used with another body; send that body or another key.`,
  );
}

function newRefund({ chargeId, amount }: Charge): Refund {
  return {
    refundId: `re_${randomUUID()}`,
    chargeId,
    amount,
    status: 'refunded',
    createdAt: new Date().toISOString(),
  };
}

function parseRecord(record: unknown, line: number): LedgerRecord {
  const result = recordSchema.safeParse(record);
  if (result.success) return result.data;
  throw new JournalError(
    `line ${line} of the data file is not a record of the payments simulator; delete the file`,
    { cause: result.error },
  );
}
