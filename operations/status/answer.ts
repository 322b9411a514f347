/** The state of the system as programs get it. */
import { totalLag, type PartitionLag } from '../../platform/kafka/consumer-lag';
import type { Consumption } from '../consumption';
import type { LastAudit } from './last-audit';
import type { BridgeState, Verification, Waiting } from './measurements';
import type { SystemState } from './status';

/** What `GET /v1/status` answers, and `ops status --json` prints. Times are RFC 3339. */
export function toStatusAnswer({ verdict, problems, unmeasured, measurements }: SystemState) {
  const { at, servers, counts, lag, processes, audit } = measurements;
  const counted = 'value' in counts ? counts.value : undefined;
  return {
    verdict,
    measuredAt: at.toISOString(),
    problems: problems.map((problem) => ({
      ...problem,
      since: problem.since.toISOString(),
      sentence: sentenceOf(problem),
      runbook: `docs/runbook.md#${problem.runbook.toLowerCase()}`,
    })),
    unmeasured: [...unmeasured],
    servers: servers.map((server) => ({ ...server, downSince: toTime(server.downSince) })),
    outbox: counted === undefined ? null : toWaiting(counted.outbox),
    lag: 'value' in lag ? toLag(lag.value) : null,
    bridges: counted === undefined ? null : counted.bridges.map(toBridge),
    consumption: counted === undefined ? null : toConsumption(counted.consumption),
    processes:
      'value' in processes
        ? processes.value.map(({ name, running }) => ({ name, running: running ?? null }))
        : null,
    orders: counted === undefined ? null : toWaiting(counted.orders),
    deadLetters: counted === undefined ? null : toWaiting(counted.deadLetters),
    audit: 'value' in audit && audit.value !== undefined ? toAudit(audit.value) : null,
    verification: toVerification(counted?.verification ?? null),
  };
}

/** As `Kafka unavailable since 22:26 UTC: orders are taken; 14 events wait, the oldest 48 s.` */
function sentenceOf({ title, since, detail }: SystemState['problems'][number]): string {
  const time = since.toISOString();
  const day = time.startsWith(new Date().toISOString().slice(0, 10)) ? '' : `${time.slice(0, 10)} `;
  return `${title} since ${day}${time.slice(11, 16)} UTC: ${detail.replace(/\.$/, '')}.`;
}

function toTime(time: Date | null): string | null {
  return time === null ? null : time.toISOString();
}

function toConsumption({ holds, limit, topicLimits }: Consumption) {
  return { holds: [...holds], limit, topicLimits: [...topicLimits] };
}

function toWaiting({ count, more, oldestAt }: Waiting) {
  return { count, more, oldestAt: toTime(oldestAt) };
}

function toLag(partitions: readonly PartitionLag[]) {
  const times = partitions.flatMap(({ oldestUncommittedAt: at }) => (at === undefined ? [] : [at]));
  const oldestAt = times.length === 0 ? null : new Date(Math.min(...times));
  return { total: totalLag(partitions), oldestAt: toTime(oldestAt) };
}

function toBridge({ pausedBy, lagGrowsSince, ...bridge }: BridgeState) {
  return { ...bridge, pausedBy: [...pausedBy], lagGrowsSince: toTime(lagGrowsSince) };
}

function toVerification(last: Verification | null) {
  if (last === null) return null;
  const { finishedAt, violated, ...verification } = last;
  return { ...verification, finishedAt: finishedAt.toISOString(), violated: [...violated] };
}

function toAudit({ workflowId, startedAt, failure, findings }: LastAudit) {
  return { workflowId, startedAt: startedAt.toISOString(), failure, findings };
}
