/** The database's clock, which its rows have their times from. */
import type { Stack } from '../../testkit/stack';

/** The database's time now. */
export async function timeOf({ pool }: Pick<Stack, 'pool'>): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('SELECT now() AS now');
  return rows[0]!.now;
}
