/** The audit log as the API pages through it. */
import {
  listEvents,
  type LogFilter,
  type LoggedEvent,
  type LogPosition,
} from '../../operations/event-log';
import { asQueryable, type Database } from '../http/database';
import type { PageRequest } from '../http/pages';

/** Reads the audit log. Each call throws DatabaseUnavailableError when PostgreSQL is unavailable. */
export interface EventReads {
  /** In the order in which the log grows. */
  list(filter: LogFilter, page: PageRequest<LogPosition>): Promise<LoggedEvent[]>;
}

/** Reads from `collector.event_log`. */
export function createEventReads(database: Database): EventReads {
  return {
    list: (filter, page) =>
      listEvents(asQueryable(database), filter, { order: 'oldest-first', ...page }),
  };
}
