/**
 * A stack's database that takes no writes, as a primary that has become a replica. Sessions that begin
 * meanwhile stay read-only until they end, also once the database takes writes again.
 */
import type { Stack } from './stack';

/** Makes it read-only, and ends every session of the processes. */
export async function makeReadOnly(stack: Pick<Stack, 'config' | 'pool'>): Promise<void> {
  await alterDatabase(stack, 'SET default_transaction_read_only = on');
  await stack.pool.query(`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()`);
}

/** Makes it take writes again, of sessions that begin from now on. */
export async function makeWritable(stack: Pick<Stack, 'config' | 'pool'>): Promise<void> {
  await alterDatabase(stack, 'RESET default_transaction_read_only');
}

async function alterDatabase(
  { config, pool }: Pick<Stack, 'config' | 'pool'>,
  change: string,
): Promise<void> {
  const name = new URL(config.DATABASE_URL).pathname.slice(1);
  await pool.query(`BEGIN READ WRITE; ALTER DATABASE ${name} ${change}; COMMIT`);
}
