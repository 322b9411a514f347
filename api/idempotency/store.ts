/**
 * First answers to requests with an Idempotency-Key, in PostgreSQL.
 *
 * A request claims its key before it is carried out. A claim is a lease: when the process that has
 * it is killed, the client's next try takes the claim over and carries the request out again, under
 * the same IDs. A process that has lost its claim cannot record an answer.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from '../../platform/observability/logger';
import type { Database } from '../http/database';

/** An answer, as it was first given. */
export interface RecordedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The right to carry a request out. */
export interface Claim {
  readonly scope: Buffer;
  readonly token: string;
  /**
   * The same for every attempt of this request, and another once the key has expired: the IDs that the
   * request works under are derived from it.
   */
  readonly seed: string;
  /** Whether the key was claimed before: an earlier try may have begun what this one asks for. */
  readonly isRepeat: boolean;
}

/** The result of claiming a key. */
export type ClaimOutcome =
  | { readonly kind: 'claimed'; readonly claim: Claim }
  /** The request has been answered before. */
  | { readonly kind: 'answered'; readonly answer: RecordedAnswer }
  /** Another try of this request is being carried out. */
  | { readonly kind: 'under-way' }
  /** The key belongs to another request. */
  | { readonly kind: 'other-request' };

/** Keeps the first answers. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface IdempotencyStore {
  /**
   * @param scope hash of what the key belongs to and of the key itself
   * @param requestHash tells the request apart from others with the same key
   */
  claim(scope: Buffer, requestHash: Buffer): Promise<ClaimOutcome>;
  /** Records the answer. False when the claim has been taken over: then nothing was recorded. */
  complete(claim: Claim, answer: RecordedAnswer): Promise<boolean>;
  /** Releases the claim without an answer, so that the request can be retried at once. */
  release(claim: Claim): Promise<void>;
}

/** Options of the store. */
export interface IdempotencyStoreOptions {
  /** How long a claim is good for, in ms: longer than the longest request. */
  readonly leaseMs?: number;
  /** How long an answer is kept, in ms. */
  readonly timeToLiveMs?: number;
}

/** The store in `commerce.idempotency_keys`. */
export function createIdempotencyStore(
  database: Database,
  logger: Logger,
  options: IdempotencyStoreOptions = {},
): IdempotencyStore {
  const { leaseMs = 20_000, timeToLiveMs = 24 * 60 * 60 * 1_000 } = options;
  const prune = createPruning(database, logger, timeToLiveMs);
  return {
    async claim(scope, requestHash) {
      prune();
      const token = randomUUID();
      const [claimed] = await database.query<Pick<Claim, 'seed' | 'isRepeat'>>({
        name: 'idempotency-claim',
        text: claimStatement,
        values: [scope, requestHash, token, leaseMs, timeToLiveMs],
      });
      if (claimed !== undefined) return { kind: 'claimed', claim: { scope, token, ...claimed } };
      return lookUp(database, scope, requestHash);
    },

    async complete({ scope, token }, { status, headers, body }) {
      const completed = await database.query({
        name: 'idempotency-complete',
        text: `
          UPDATE commerce.idempotency_keys SET status = $3, headers = $4, body = $5
          WHERE scope = $1 AND claim = $2 AND status IS NULL
          RETURNING 1`,
        values: [scope, token, status, JSON.stringify(headers), body],
      });
      return completed.length === 1;
    },

    // The row stays, so that the key still belongs to this request: its workflow may be running.
    async release({ scope, token }) {
      await database.query({
        name: 'idempotency-release',
        text: `
          UPDATE commerce.idempotency_keys SET claimed_until = now()
          WHERE scope = $1 AND claim = $2 AND status IS NULL`,
        values: [scope, token],
      });
    },
  };
}

// One statement decides between all who claim at once: a row that is free, expired, or left behind
// by a process that was killed, goes to one of them. Only a row that was there before, and has not expired,
// is older than the statement.
const expired = `held.created_at <= now() - $5 * interval '1 millisecond'`;
const claimStatement = `
  INSERT INTO commerce.idempotency_keys AS held (scope, request_hash, claim, claimed_until)
  VALUES ($1, $2, $3, now() + $4 * interval '1 millisecond')
  ON CONFLICT (scope) DO UPDATE SET
    request_hash = excluded.request_hash,
    claim = excluded.claim,
    claimed_until = excluded.claimed_until,
    status = NULL, headers = NULL, body = NULL,
    created_at = CASE WHEN ${expired} THEN now() ELSE held.created_at END
  WHERE held.claimed_until <= now()
    AND (${expired} OR (held.status IS NULL AND held.request_hash = excluded.request_hash))
  RETURNING extract(epoch FROM created_at)::text AS seed, created_at <> now() AS "isRepeat"`;

interface HeldRow {
  readonly same_request: boolean;
  readonly status: number | null;
  readonly headers: Readonly<Record<string, string>> | null;
  readonly body: string | null;
}

async function lookUp(
  database: Database,
  scope: Buffer,
  requestHash: Buffer,
): Promise<ClaimOutcome> {
  const [held] = await database.query<HeldRow>({
    name: 'idempotency-look-up',
    text: `
      SELECT request_hash = $2 AS same_request, status, headers, body
      FROM commerce.idempotency_keys WHERE scope = $1`,
    values: [scope, requestHash],
  });
  if (held === undefined) return { kind: 'under-way' };
  if (!held.same_request) return { kind: 'other-request' };
  const { status, headers, body } = held;
  if (status === null) return { kind: 'under-way' };
  return { kind: 'answered', answer: { status, headers: headers ?? {}, body: body ?? '' } };
}

const pruneIntervalMs = 10_000;
const rowsPerPruning = 1_000;

// In the background of a request and bounded: no request waits, and no extra process is needed.
function createPruning(database: Database, logger: Logger, timeToLiveMs: number): () => void {
  let pruneAt = 0;
  const prune = async (): Promise<void> => {
    const pruned = await database.query({
      name: 'idempotency-prune',
      text: `
        DELETE FROM commerce.idempotency_keys WHERE scope IN (
          SELECT scope FROM commerce.idempotency_keys
          WHERE created_at < now() - $1 * interval '1 millisecond' AND claimed_until < now()
          ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
        RETURNING 1`,
      values: [timeToLiveMs, rowsPerPruning],
    });
    // More may be left: continue with the next request.
    if (pruned.length === rowsPerPruning) pruneAt = 0;
  };
  return () => {
    if (Date.now() < pruneAt) return;
    pruneAt = Date.now() + pruneIntervalMs;
    prune().catch((error: unknown) => {
      logger.warn({ err: error }, 'deleting expired idempotency keys failed; retrying later');
    });
  };
}
