/**
 * Saves the database at one moment, and restores it: with `pg_dump` and `pg_restore` where `PATH` has those of
 * the server's version, and otherwise as saved-tables.ts does.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCommand } from '../cluster/command';
import { onPathWithVersion } from '../cluster/install';
import { advanceTransactionIds, saveTables, type SavedTables } from './saved-tables';
import type { Stack } from './stack';

/** Saves the database, whatever is written meanwhile. To be restored once, while no process is connected. */
export async function saveDatabase({
  pool,
  config: { DATABASE_URL: databaseUrl },
}: Pick<Stack, 'pool' | 'config'>): Promise<SavedTables> {
  // An older one refuses the server.
  const pgDump = await onPathWithVersion('pg_dump', /\) (\d+)\.(\d+)/, [18, 0]);
  if (pgDump === undefined) return saveTables(pool);
  const directory = await mkdtemp(path.join(tmpdir(), 'database-dump-'));
  const file = path.join(directory, 'dump');
  await runCommand(pgDump, ['--format=custom', `--file=${file}`, databaseUrl]);
  return {
    async restore(transactionsAhead) {
      const pgRestore = path.join(path.dirname(pgDump), 'pg_restore');
      const replacing = ['--clean', '--if-exists', '--single-transaction', '--exit-on-error'];
      await runCommand(pgRestore, [...replacing, `--dbname=${databaseUrl}`, file]);
      await rm(directory, { recursive: true });
      await advanceTransactionIds(pool, transactionsAhead);
    },
  };
}
