/** The state of the whole system with a verdict, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import { totalLag, type PartitionLag } from '../../platform/kafka/consumer-lag';
import type { Services } from '../http/dependencies';
import { problemSchema } from '../http/problem';
import type { LastAudit } from './last-audit';
import type { BridgeState, Waiting } from './measurements';
import { statusSchema } from './schemas';
import type { SystemState } from './status';

/** `GET /status`. */
export function statusRoutes({ systemStatus }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/status',
      {
        config: {
          operation: {
            operationId: 'readStatus',
            tag: 'Pipeline',
            summary: 'Read the state of the whole system, with a verdict',
            description:
              '`unavailable`: requests are refused. `degraded`: something is wrong or waits for an ' +
              'operator. `unknown`: nothing is known to be wrong, and something could not be measured. ' +
              'Answers 200 within some seconds, whatever hangs; what could not be measured is null.',
            key: 'operator',
            example: { url: '/v1/status' },
          },
        },
        schema: { response: { 200: statusSchema, default: problemSchema } },
      },
      async () => toAnswer(await systemStatus.read()),
    );
  };
}

function toAnswer({ verdict, problems, unmeasured, measurements }: SystemState) {
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
    processes:
      'value' in processes
        ? processes.value.map(({ name, running }) => ({ name, running: running ?? null }))
        : null,
    orders: counted === undefined ? null : toWaiting(counted.orders),
    deadLetters: counted === undefined ? null : toWaiting(counted.deadLetters),
    audit: 'value' in audit && audit.value !== undefined ? toAudit(audit.value) : null,
  } satisfies z.input<typeof statusSchema>;
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

function toWaiting({ count, oldestAt }: Waiting) {
  return { count, oldestAt: toTime(oldestAt) };
}

function toLag(partitions: readonly PartitionLag[]) {
  const times = partitions.flatMap(({ oldestUncommittedAt: at }) => (at === undefined ? [] : [at]));
  const oldestAt = times.length === 0 ? null : new Date(Math.min(...times));
  return { total: totalLag(partitions), oldestAt: toTime(oldestAt) };
}

function toBridge({ pausedBy, lagGrowsSince, ...bridge }: BridgeState) {
  return { ...bridge, pausedBy: [...pausedBy], lagGrowsSince: toTime(lagGrowsSince) };
}

function toAudit({ workflowId, startedAt, failure, findings }: LastAudit) {
  return { workflowId, startedAt: startedAt.toISOString(), failure, findings };
}
