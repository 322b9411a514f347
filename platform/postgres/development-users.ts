/**
 * Development users: a PostgreSQL user for each kind of process and for operators, for databases that
 * nobody else can reach, since each one's password is its name. They have the privileges of their role only.
 */
import type { DatabaseRole } from './pool';
import type { ProcessKind } from '../observability/telemetry';

/** A user and the one role that it is a member of. */
export interface DevelopmentUser {
  /** Its name, and its password. */
  readonly name: string;
  readonly role: DatabaseRole;
}

/** Who connects as a user of their own; `ops` is the operator's command line. */
type Connecting = ProcessKind | 'ops';

/** The users by who connects as them. `npm run migrate` creates them when configured to. */
export const developmentUsers: Readonly<Record<Connecting, DevelopmentUser>> = {
  api: { name: 'dev_api', role: 'commerce_api' },
  'worker:commerce': { name: 'dev_worker_commerce', role: 'commerce_shop' },
  'worker:collector': { name: 'dev_worker_collector', role: 'commerce_collector' },
  bridge: { name: 'dev_bridge', role: 'commerce_bridge' },
  ops: { name: 'dev_operator', role: 'commerce_operator' },
};

/** The same database as one's own user. */
export function asDevelopmentUser(databaseUrl: string, who: Connecting): string {
  const url = new URL(databaseUrl);
  const { name } = developmentUsers[who];
  url.username = name;
  url.password = name;
  return url.href;
}
