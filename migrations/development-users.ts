/** Creates the users of `platform/postgres/development-users.ts`: for the local cluster and Compose. */
import { DatabaseError } from 'pg';
import { developmentUsers } from '../platform/postgres/development-users';
import { createClient } from '../platform/postgres/hosts';
import type { Logger } from '../platform/observability/logger';

/**
 * Creates the missing ones.
 *
 * @param databaseUrl a migrated database, with a user who may create roles
 */
export async function createDevelopmentUsers(databaseUrl: string, logger: Logger): Promise<void> {
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    for (const { name, role } of Object.values(developmentUsers)) {
      await client
        .query(`CREATE ROLE ${name} LOGIN PASSWORD '${name}' IN ROLE ${role}`)
        .catch(unlessItIsThere);
    }
  } finally {
    await client.end();
  }
  logger.info('development database users are up to date');
}

// SQLSTATE duplicate_object, and unique_violation when another process creates it at the same time.
function unlessItIsThere(error: unknown): void {
  const isThere = error instanceof DatabaseError && ['42710', '23505'].includes(error.code ?? '');
  if (!isThere) throw error;
}
