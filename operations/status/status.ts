/**
 * The state of the whole system: measured in one place, each part by itself and bounded in time, and shared
 * by all who ask in the same moment.
 */
import type { Client } from '@temporalio/client';
import type { Logger } from '../../platform/observability/logger';
import { withTimeout } from '../../platform/process/waiting';
import type { Queryable } from '../../platform/postgres/pool';
import { shareReading } from '../../platform/process/shared-reading';
import type { PipelineState } from '../pipeline-state';
import { readCounts } from './counts';
import { readLastAudit } from './last-audit';
import type { Measured, Measurements } from './measurements';
import type { ServerWatch } from './servers';
import { judge, type Judgement, type Problem } from './verdict';

/** The state of the system, and the verdict on it. */
export interface SystemState extends Judgement {
  readonly problems: readonly (Problem & { readonly since: Date })[];
  readonly measurements: Measurements;
}

/** Reads the state. */
export interface SystemStatus {
  /** Takes {@link measuredWithinMs} at most, whatever hangs. Never throws. */
  read(): Promise<SystemState>;
}

/** What is read. */
export interface SystemStatusDependencies {
  readonly servers: ServerWatch;
  readonly database: Queryable;
  readonly pipeline: PipelineState;
  readonly temporal: Client;
  /** Says in words why something could not be measured, to whoever may read the state. */
  explain(error: unknown): string;
  readonly logger: Logger;
}

/** Bound of each measurement, in ms, beyond those of its own parts: what takes longer is unknown. */
const measuredWithinMs = 3_500;

// Any number of dashboards share one measurement.
const freshForMs = 1_000;

/** The audit runs once a minute. */
const auditFreshForMs = 10_000;

/** Measures with every call, but once for all who call within a second. */
export function createSystemStatus(dependencies: SystemStatusDependencies): SystemStatus {
  const { servers, database, pipeline, temporal, explain, logger } = dependencies;
  // A read that hangs is shared, too, so that it is never under way twice.
  const counts = shareReading(freshForMs, () => readCounts(database));
  const audit = shareReading(auditFreshForMs, () => readLastAudit(temporal, measuredWithinMs));
  const measure = async <Value>(
    what: string,
    read: () => Promise<Value>,
  ): Promise<Measured<Value>> => {
    try {
      return { value: await withTimeout(read(), measuredWithinMs) };
    } catch (error) {
      logger.debug({ err: error }, `cannot measure ${what} for the status`);
      return { unmeasured: explain(error) };
    }
  };
  const firstSeen = createFirstSeen();
  return {
    read: shareReading(freshForMs, async () => {
      const at = new Date();
      const [states, ...measured] = await Promise.all([
        servers.read(),
        measure('what waits', counts),
        measure('the consumer lag', () => pipeline.readLag()),
        measure('the processes', () => pipeline.readProcesses()),
        measure('the delivery audit', audit),
      ]);
      const measurements = {
        at,
        servers: states,
        counts: measured[0],
        lag: measured[1],
        processes: measured[2],
        audit: measured[3],
      };
      const judgement = judge(measurements);
      return { ...judgement, problems: firstSeen(judgement.problems, at), measurements };
    }),
  };
}

/** Keeps when each problem was first seen, for those whose beginning is in no data. */
function createFirstSeen() {
  let known = new Map<string, Date>();
  return (problems: readonly Problem[], at: Date) => {
    known = new Map(problems.map(({ code, since }) => [code, since ?? known.get(code) ?? at]));
    return problems.map((problem) => ({ ...problem, since: known.get(problem.code)! }));
  };
}
