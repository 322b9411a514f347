/**
 * The behaviour of each test token. A decided key gets its first answer again; the tokens below
 * decide the others.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type ChargeDecision, fingerprintOf, type Ledger } from './ledger';

/** A requested charge. `amount` is in the smallest unit of `currency`. */
export interface ChargeRequest {
  idempotencyKey: string;
  amount: number;
  currency: string;
  token: string;
  reference: string;
}

/** The answer to a charge: its decision, a 503, that it is still under way, or none. */
export type ChargeAnswer =
  ChargeDecision | { kind: 'unavailable' } | { kind: 'in-progress' } | { kind: 'silence' };

/** How often `tok_flaky` fails before it approves. */
const flakyFailures = 2;

/** Charges by token. */
export class Charging {
  /** Pending slow charges, so that retries join the pending one. */
  private readonly underWay = new Map<string, Promise<ChargeAnswer>>();
  private readonly stopped = new AbortController();

  constructor(
    private readonly ledger: Ledger,
    private readonly slowMs: number,
  ) {}

  /**
   * Answers a charge by its token.
   *
   * @throws RefusedRequestError `idempotency_key_reused` when the key came with another request.
   */
  async charge(request: ChargeRequest): Promise<ChargeAnswer> {
    const { idempotencyKey: key, amount, currency, token, reference } = request;
    const fingerprint = fingerprintOf([amount, currency, token, reference]);
    const decided = this.ledger.decisionFor(key, fingerprint);
    if (decided !== undefined) return decided;

    switch (token) {
      case 'tok_approve':
        return this.ledger.capture(request, fingerprint, false);
      case 'tok_lost_answer':
        return this.ledger.capture(request, fingerprint, true);
      case 'tok_slow':
        return this.captureSlowly(request, fingerprint);
      case 'tok_in_progress':
        // A journal that fails says so to whoever asks next.
        this.captureSlowly(request, fingerprint).catch(() => undefined);
        return { kind: 'in-progress' };
      case 'tok_flaky': {
        const attempts = this.ledger.recordAttempt(key, fingerprint);
        if (attempts <= flakyFailures) return { kind: 'unavailable' };
        return this.ledger.capture(request, fingerprint, false);
      }
      case 'tok_silent':
        this.ledger.recordAttempt(key, fingerprint);
        return { kind: 'silence' };
      case 'tok_decline':
        return this.ledger.decline(key, fingerprint, {
          code: 'declined',
          message: 'The issuer declined the payment.',
        });
      default:
        return this.ledger.decline(key, fingerprint, {
          code: 'invalid_token',
          message: 'The payment token is not one that this gateway issued.',
        });
    }
  }

  /** Drops pending slow charges: they are not captured, and their callers get a 503. */
  stop(): void {
    this.stopped.abort();
  }

  private captureSlowly(request: ChargeRequest, fingerprint: string): Promise<ChargeAnswer> {
    const underWay = this.underWay.get(request.idempotencyKey);
    if (underWay !== undefined) return underWay;

    this.ledger.recordAttempt(request.idempotencyKey, fingerprint);
    const slowly = delay(this.slowMs, undefined, { signal: this.stopped.signal })
      .then(
        () => this.ledger.capture(request, fingerprint, false),
        (): ChargeAnswer => ({ kind: 'unavailable' }),
      )
      .finally(() => this.underWay.delete(request.idempotencyKey));
    this.underWay.set(request.idempotencyKey, slowly);
    return slowly;
  }
}
