/**
 * Load shedding: excess work is rejected at almost no cost, so that accepted work keeps its pace
 * under any load.
 */
import fastq from 'fastq';
import type { QueryConfig } from 'pg';
import type { Database } from './database';
import { Problem } from './problem';

/** The API or the shop's workers are at their limits. Nothing was changed; a retry can succeed. */
export class OverloadedError extends Problem {
  override readonly name = 'OverloadedError';

  constructor() {
    super('OVERLOADED');
  }
}

/** Limits of a share of the database. */
export interface DatabaseBounds {
  /** Most concurrent statements; fewer than connections, so that others keep some. */
  readonly maxRunning: number;
  /** Most queued statements. */
  readonly maxWaiting: number;
  /** Queue timeout in ms, for a database that hangs. */
  readonly maxWaitMs: number;
}

/**
 * A database that bounds concurrency and queues the rest, first in, first out.
 *
 * @returns a database that also throws OverloadedError when the queue is full or a statement has waited
 *   too long
 */
export function boundDatabase(
  database: Database,
  { maxRunning, maxWaiting, maxWaitMs }: DatabaseBounds,
): Database {
  const queue = fastq.promise<unknown, () => Promise<void>>((takeTurn) => takeTurn(), maxRunning);
  return {
    async query<Row extends object>(statement: QueryConfig): Promise<Row[]> {
      if (queue.length() >= maxWaiting) throw new OverloadedError();
      return new Promise<Row[]>((resolve, reject) => {
        let isWaiting = true;
        const giveUp = setTimeout(() => {
          isWaiting = false;
          reject(new OverloadedError());
        }, maxWaitMs);
        void queue.push(async () => {
          clearTimeout(giveUp);
          if (isWaiting) await database.query<Row>(statement).then(resolve, reject);
        });
      });
    },
  };
}
