/**
 * What a process counts, for Prometheus. One registry a process; a metric is declared here, next to
 * the others, and counted where the thing happens.
 */
import { Counter, Registry } from 'prom-client';

/** Every metric of this process. */
export const metricsRegistry = new Registry();

/** What the delivery audit can find. */
export type AuditFinding =
  /** An event in the outbox that nobody had published. */
  | 'unpublished'
  /** A published event that the consumer had passed without it being logged or parked; sent again. */
  | 'republished'
  /** A logged event that was neither handled nor parked. */
  | 'unhandled'
  /** An order that had not been decided for long. */
  | 'undecided';

/** What the delivery audit has found. A look that finds the same thing again counts again. */
export const auditFindings = new Counter<'finding'>({
  name: 'commerce_audit_findings_total',
  help: 'What the delivery audit found and set right, by kind of finding.',
  labelNames: ['finding'] satisfies 'finding'[],
  registers: [metricsRegistry],
});

/** How many published events the delivery audit has found to have arrived. */
export const auditConfirmations = new Counter({
  name: 'commerce_audit_confirmed_total',
  help: 'Published events that the delivery audit found in the audit log or among the dead letters.',
  registers: [metricsRegistry],
});

const findings: readonly AuditFinding[] = ['unpublished', 'republished', 'unhandled', 'undecided'];
// Present from the start: an alarm on an increase needs the zero before it.
for (const finding of findings) auditFindings.inc({ finding }, 0);
