/** The audit log as the API pages through it. */
import {
  isAheadOfServer,
  listEvents,
  type LogFilter,
  type LoggedEvent,
  type LogPosition,
} from '../../operations/event-log';
import { asQueryable, type Database } from '../http/database';
import type { PageRequest } from '../http/pages';
import { invalidField } from '../http/problem';

/** Reads the audit log. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface EventReads {
  /**
   * In the order in which the log grows.
   *
   * @throws Problem 400 for a cursor ahead of the database, as after a restore: behind it nothing would be
   *   seen until the database has counted as far again
   */
  list(filter: LogFilter, page: PageRequest<LogPosition>): Promise<LoggedEvent[]>;
}

/** Reads from `collector.event_log`. */
export function createEventReads(database: Database): EventReads {
  const queryable = asQueryable(database);
  return {
    async list(filter, page) {
      const events = await listEvents(queryable, filter, { order: 'oldest-first', ...page });
      if (events.length > 0 || page.after === undefined) return events;
      if (await isAheadOfServer(queryable, page.after)) {
        throw invalidField('after', 'is ahead of the log, which was restored; begin without it');
      }
      return events;
    },
  };
}
