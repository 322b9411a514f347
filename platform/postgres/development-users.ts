/**
 * Development users: a PostgreSQL user for each kind of process, for databases that nobody else can
 * reach, since each one's password is its name. They have the privileges of their role only.
 */
import type { DatabaseRole } from './pool';
import type { ProcessKind } from '../observability/telemetry';

/** A user and the one role that it is a member of. */
export interface DevelopmentUser {
  /** Its name, and its password. */
  readonly name: string;
  readonly role: DatabaseRole;
}

/** The users by the process that connects as them. `npm run migrate` creates them when configured to. */
export const developmentUsers: Readonly<Record<ProcessKind, DevelopmentUser>> = {
  api: { name: 'dev_api', role: 'commerce_api' },
  'worker:commerce': { name: 'dev_worker_commerce', role: 'commerce_shop' },
  'worker:collector': { name: 'dev_worker_collector', role: 'commerce_collector' },
  bridge: { name: 'dev_bridge', role: 'commerce_bridge' },
};

/** The same database as the process's own user. */
export function asDevelopmentUser(databaseUrl: string, kind: ProcessKind): string {
  const url = new URL(databaseUrl);
  const { name } = developmentUsers[kind];
  url.username = name;
  url.password = name;
  return url.href;
}
