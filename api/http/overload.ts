/**
 * What is refused because too much is asked for at once. A refusal costs next to nothing, so that
 * work which was taken on goes on at its own pace, however many are turned away.
 */
import fastq from 'fastq';
import type { QueryConfig } from 'pg';
import type { Database } from './database';
import { Problem } from './problem';

/** The API has as much to do as it takes on. Nothing has happened; a later try can help. */
export class OverloadedError extends Problem {
  override readonly name = 'OverloadedError';

  constructor() {
    super('OVERLOADED');
  }
}

/** The bounds of a database that is shared with others. */
export interface DatabaseBounds {
  /** Most statements that run at once: fewer than there are connections leaves some to others. */
  readonly maxRunning: number;
  /** Most statements that wait for their turn. */
  readonly maxWaiting: number;
  /** How long one waits for its turn, in ms: behind a database that hangs, it would be for ever. */
  readonly maxWaitMs: number;
}

/**
 * A database for work that may take only a part of it. Its statements are run in the order in which
 * they come.
 *
 * @returns a database that also throws OverloadedError: when as many wait already as may, or when a
 *   statement's turn has not come in time
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
